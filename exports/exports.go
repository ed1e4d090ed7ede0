// Package exports reads what the kernel's NFS server of this machine exports: the table
// that exportfs(8) writes, and the directory below which mountd looks for it
// (rootdir in nfs.conf(5)). It writes nothing.
package exports

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/mounts"
)

// Sources are the files of the server. A file that is not there has nothing in it.
type Sources struct {
	// Table is /var/lib/nfs/etab.
	Table string
	// Conf are the files of nfs.conf(5), each with the files *.conf in the directory
	// FILE.d; what a later one has replaces all that the ones before it have.
	Conf []string
}

// Default are the sources of a machine with nfs-utils.
func Default() Sources {
	return Sources{Table: "/var/lib/nfs/etab", Conf: []string{"/usr/etc/nfs.conf", "/etc/nfs.conf"}}
}

// A Table is what the server exports.
type Table struct {
	// RootDir is the directory that precedes each exported path, "/" where there is none.
	RootDir string
	Exports []Export
}

// An Export is a line of the table.
type Export struct {
	// Name is the path as clients mount it, Path where that is on this machine.
	Name, Path string
	// Clients are the clients with their options, such as "*(ro,no_root_squash)".
	Clients []string
}

// Has tells whether the export has an option for any of its clients.
func (e Export) Has(option string) bool {
	return slices.ContainsFunc(e.Clients, func(client string) bool {
		_, options := SplitClient(client)
		return slices.Contains(strings.Split(options, ","), option)
	})
}

// SplitClient divides a client of an Export into its host and its options, which have
// commas between them.
func SplitClient(client string) (host, options string) {
	host, options, _ = strings.Cut(strings.TrimSuffix(client, ")"), "(")
	return host, options
}

// Read reads the table.
func Read(s Sources) (Table, error) {
	t := Table{RootDir: "/"}
	dir, err := rootDir(s.Conf)
	if err != nil {
		return t, err
	}
	if dir != "" {
		t.RootDir = dir
		// Where links lead, as in the paths that are compared with it. One that is not
		// there has no exports.
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			t.RootDir = real
		}
	}
	text, err := os.ReadFile(s.Table)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		name := mounts.Unescape(fields[0])
		if path.IsAbs(name) {
			t.Exports = append(t.Exports, Export{Name: name, Path: t.Path(name), Clients: fields[1:]})
		}
	}
	return t, nil
}

// Path is where a path that clients mount is on this machine.
func (t Table) Path(mounted string) string { return filepath.Join(t.RootDir, mounted) }
