package versions

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// UsageSources are where the server's kernel and mountd keep their clients.
type UsageSources struct {
	// Rmtab is mountd's file of NFSv3 mounts, /var/lib/nfs/rmtab (rpc.mountd(8)).
	Rmtab string
	// Clients is the kernel's directory of NFSv4 clients, /proc/fs/nfsd/clients
	// (fs/nfsd/nfs4state.c).
	Clients string
	// Ignore are addresses of clients that run no version.
	Ignore []string
}

// ErrNoSource says that the server tells nothing about its clients.
var ErrNoSource = errors.New("the NFS server tells nothing about its clients: neither mountd's rmtab nor the kernel's clients are there (nfs-ganesha keeps neither)")

// ReadUsage finds out which versions of the base at path the clients of this
// machine's NFS server run. mountd knows the path that an NFSv3 client mounted;
// of an NFSv4 client the kernel knows the address only, so it is unknown unless
// mountd knows it too. What an NFSv3 client did not unmount stays in rmtab for
// good and counts as in use.
func ReadUsage(base string, s UsageSources) (Usage, error) {
	u := Usage{Clients: make(map[string][]string)}
	unknown := make(map[string]bool)
	known := make(map[string]bool)
	f, err := os.Open(s.Rmtab)
	noRmtab := errors.Is(err, fs.ErrNotExist)
	switch {
	case err == nil:
		defer f.Close()
		if err := parseRmtab(f, func(client, mounted string) {
			if slices.Contains(s.Ignore, client) {
				return
			}
			id, part := versionOf(base, mounted)
			if id != "" {
				known[client] = true
				if !slices.Contains(u.Clients[id], client) {
					u.Clients[id] = append(u.Clients[id], client)
				}
			} else if part {
				unknown[client] = true
			}
		}); err != nil {
			return u, fmt.Errorf("%s: %w", s.Rmtab, err)
		}
	case !noRmtab:
		return u, err
	}
	infos, err := filepath.Glob(filepath.Join(s.Clients, "*", "info"))
	if err != nil {
		return u, err
	}
	for _, name := range infos {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // It has gone meanwhile.
		}
		if err != nil {
			return u, err
		}
		client := clientAddress(string(text))
		if client == "" {
			client = name
		}
		if !known[client] && !slices.Contains(s.Ignore, client) {
			unknown[client] = true
		}
	}
	if _, err := os.Stat(s.Clients); noRmtab && err != nil {
		return u, ErrNoSource
	}
	for client := range unknown {
		u.Unknown = append(u.Unknown, client)
	}
	slices.Sort(u.Unknown)
	return u, nil
}

// versionOf is the version that a mounted path lies in. part says that the path
// has to do with the base, but not which version it is.
func versionOf(base, mounted string) (id string, part bool) {
	mounted = path.Clean(mounted)
	if rest, ok := strings.CutPrefix(mounted, base+"/"+layout.Dir+"/"); ok {
		id, _, _ = strings.Cut(rest, "/")
		return id, true
	}
	// The base, what it has besides versions, or something above it.
	return "", mounted == base || strings.HasPrefix(mounted, base+"/") || mounted == "/" || strings.HasPrefix(base, mounted+"/")
}

// parseRmtab reads CLIENT:PATH:COUNT lines, COUNT in hexadecimal (nfs-utils,
// support/nfs/rmtab.c). Lines of another form are passed over.
func parseRmtab(r io.Reader, mount func(client, path string)) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		end := strings.LastIndex(line, ":")
		start := strings.Index(line, ":/")
		if start <= 0 || end <= start {
			continue
		}
		if count := strings.TrimPrefix(line[end+1:], "0x"); strings.Trim(count, "0") == "" {
			continue // Unmounted.
		}
		mount(line[:start], line[start+1:end])
	}
	return lines.Err()
}

// clientAddress is the address in a client's info: a line address: "IP:PORT".
func clientAddress(info string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "address:"); ok {
			value = strings.Trim(strings.TrimSpace(value), `"`)
			if ap, err := netip.ParseAddrPort(value); err == nil {
				return ap.Addr().String()
			}
			return value
		}
	}
	return ""
}
