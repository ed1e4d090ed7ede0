package bootdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/sidusboot/sidusboot/initrd"
)

// A loader is a program that fetches a kernel and an image by the network and
// starts them.
type loader struct {
	name string
	// file is its configuration, for an installation's name.
	file func(name string) string
	// text makes the content out of the old one, which is empty where there is no file.
	text func(v *version, old []byte) ([]byte, error)
	// needs are files that have to be beside the configuration, and hint tells where
	// Debian has them.
	needs []string
	hint  string
	// only is the one architecture, as Debian calls it, for which there is such a loader.
	only string
}

// loaders are all that there are.
func loaders() []loader {
	return []loader{
		{
			name: "pxelinux", file: func(string) string { return "pxelinux.cfg/default" }, text: pxelinuxText,
			needs: []string{"pxelinux.0", "ldlinux.c32"},
			// On arm64 it is U-Boot that reads the configuration.
			only: "amd64",
			hint: "cp /usr/lib/PXELINUX/pxelinux.0 /usr/lib/syslinux/modules/bios/ldlinux.c32 %s (Debian's pxelinux and syslinux-common)",
		},
		{name: "grub", file: func(string) string { return "grub/grub.cfg" }, text: grubText},
		{name: "ipxe", file: func(name string) string { return name + ".ipxe" }, text: ipxeText},
	}
}

// Loaders are the names of the loaders for which there is configuration.
func Loaders() []string {
	var names []string
	for _, l := range loaders() {
		names = append(names, l.name)
	}
	return names
}

func loaderOf(name string) (loader, error) {
	for _, l := range loaders() {
		if l.name == name {
			return l, nil
		}
	}
	return loader{}, initrd.InvalidOptionf("Loaders", "%q is not a loader: choose one or more of %s", name, strings.Join(Loaders(), ", "))
}

// A configFile is a file of a loader's configuration, as it is to be.
type configFile struct {
	name string
	text []byte
}

// configure makes the configuration of the loaders, and writes nothing.
func (d *dir) configure(v *version, names []string) (files []configFile, err error) {
	for _, name := range names {
		l, err := loaderOf(name)
		if err != nil {
			return nil, err
		}
		file := l.file(v.Name)
		old, err := d.read(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		text, err := l.text(v, old)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.path(file), err)
		}
		files = append(files, configFile{file, text})
	}
	return files, nil
}

// hints say which files of a loader are still missing, for nodes of an architecture.
func (d *dir) hints(names []string, architecture string) (hints []string) {
	for _, name := range names {
		l, err := loaderOf(name)
		if err != nil || l.only != "" && architecture != "" && l.only != architecture {
			continue
		}
		for _, file := range l.needs {
			if _, err := d.root.Stat(file); errors.Is(err, fs.ErrNotExist) {
				hints = append(hints, fmt.Sprintf("%s is missing, and no node can boot with %s without it: run "+l.hint, d.path(file), name, d.root.Name()))
				break
			}
		}
	}
	return hints
}

// configurations is what all files of the loaders' configuration have in them, one behind the other.
func (d *dir) configurations() []byte {
	var all bytes.Buffer
	for _, folder := range []string{".", "pxelinux.cfg", "grub", "ipxe.cfg"} {
		for _, e := range d.list(folder) {
			if folder == "." && path.Ext(e.Name()) != ".ipxe" {
				continue
			}
			if text, err := d.read(path.Join(folder, e.Name())); err == nil {
				all.Write(text)
				all.WriteByte('\n')
			}
		}
	}
	return all.Bytes()
}

// The lines around what is ours in a file of others.
func beginLine(name string) string {
	return "# BEGIN sidusboot " + name + ": written by initrdgen install. Do not change it here: the next install replaces it\n"
}

func endLine(name string) string { return "# END sidusboot " + name + "\n" }

// A DamagedError says that the lines around our block are not as they were
// written.
type DamagedError struct{ Name, Problem string }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: remove the lines # BEGIN sidusboot %s and # END sidusboot %s, and all between them", e.Problem, e.Name, e.Name)
}

// An EntryError says that the file has an entry of the same name that is not
// ours.
type EntryError struct{ Label string }

func (e *EntryError) Error() string {
	return fmt.Sprintf("there is already an entry %q, which initrdgen did not write: rename it, or choose another name for ours", e.Label)
}

// split divides a file into what is before our block and what is behind it. All
// is before it where there is no block.
func split(name string, text []byte) (before, after []byte, err error) {
	begin, end := -1, -1
	for at := 0; at < len(text); {
		line := text[at:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		first, _, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		switch first {
		case "# BEGIN sidusboot " + name:
			if begin >= 0 {
				return nil, nil, &DamagedError{name, "two lines begin the block"}
			}
			begin = at
		case "# END sidusboot " + name:
			if begin < 0 || end >= 0 {
				return nil, nil, &DamagedError{name, "the line that ends the block is in the wrong place"}
			}
			end = at + len(line)
		}
		at += len(line)
	}
	switch {
	case begin < 0:
		return text, nil, nil
	case end < 0:
		return nil, nil, &DamagedError{name, "the line that ends the block is missing"}
	}
	return text[:begin], text[end:], nil
}

// insert puts a block between what is before and behind it.
func insert(name string, before []byte, block string, after []byte) []byte {
	var b bytes.Buffer
	b.Write(before)
	if n := len(before); n > 0 && before[n-1] != '\n' {
		b.WriteByte('\n')
	}
	b.WriteString(beginLine(name))
	b.WriteString(block)
	b.WriteString(endLine(name))
	b.Write(after)
	return b.Bytes()
}

// findServer is the parameter by which a node looks for the host that its kernel came
// from. Loaders that know the URL add it.
const findServer = "sidus.server=boot"

// withURL is a label's parameters, with a loader's own text for the URL where they have
// findServer.
func withURL(parameters, url string) string {
	fields := strings.Fields(parameters)
	for i, field := range fields {
		if field == findServer {
			fields[i] += "," + url
		}
	}
	return strings.Join(fields, " ")
}
