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
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/exports"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// UsageSources are where the server's kernel and mountd keep their clients.
type UsageSources struct {
	// Rmtab is mountd's file of NFSv3 mounts, /var/lib/nfs/rmtab (rpc.mountd(8)).
	Rmtab string
	// Exports tell what the kernel's server exports.
	Exports exports.Sources
	// Clients is the kernel's directory of NFSv4 clients, /proc/fs/nfsd/clients
	// (fs/nfsd/nfs4state.c).
	Clients string
	// Ignore are addresses of clients that run no version.
	Ignore []string
}

// ErrNotExported says that the kernel's server knows no client of the base and does not
// export it: the nodes have it from another server.
var ErrNotExported = errors.New("the kernel's NFS server of this machine does not export the base: another server does (another machine, or nfs-ganesha)")

// ErrNoSource says that the server tells nothing about its clients.
var ErrNoSource = errors.New("there is no list of the NFS server's clients: the kernel's NFS server does not run here, and nfs-ganesha has no list")

// ReadUsage finds out which versions of the base at path the clients of this
// machine's NFS server run. mountd knows the path that an NFSv3 client mounted;
// of an NFSv4 client the kernel knows the address only, so it is unknown unless
// mountd knows it too. What an NFSv3 client did not unmount stays in rmtab
// and counts as in use. A node mounts the base first, to see what is in it,
// so that a client of which a version is known does not count for the base.
//
// An rmtab without a kernel's server, which its package leaves behind, proves
// nothing: that is ErrNoSource. Nor does a kernel's server that serves something
// else: that is ErrNotExported.
func ReadUsage(base string, s UsageSources) (Usage, error) {
	u := Usage{Clients: make(map[string][]string), Open: make(map[string][]string), Mounts: []Mount{}}
	if !kernelServes(s.Clients) {
		return u, ErrNoSource
	}
	// mountd writes down where links lead (nfs-utils, utils/mountd/mountd.c).
	base, err := filepath.EvalSymlinks(base)
	if err != nil {
		return u, err
	}
	table, err := exports.Read(s.Exports)
	if err != nil {
		return u, err
	}
	unknown := make(map[string]bool)
	known := make(map[string]bool)
	f, err := os.Open(s.Rmtab)
	switch {
	case err == nil:
		defer f.Close()
		if err := parseRmtab(f, func(client, mounted string, count uint64) {
			if slices.Contains(s.Ignore, client) {
				return
			}
			id, part := versionOf(base, table.Path(mounted))
			switch {
			case id != "":
				known[client] = true
				u.addMount(client, id, count)
				u.addClient(client, id)
			case part:
				unknown[client] = true
			default:
				// It may be, and so the version stays; nothing else follows from it.
				if id := versionBefore(base, mounted); id != "" {
					u.addClient(client, id)
				}
			}
		}); err != nil {
			return u, fmt.Errorf("%s: %w", s.Rmtab, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return u, err
	}
	for client := range known {
		delete(unknown, client)
	}
	if err := u.addOpen(base, s, known, unknown); err != nil {
		return u, err
	}
	for client := range unknown {
		u.Unknown = append(u.Unknown, client)
	}
	slices.Sort(u.Unknown)
	if len(u.Clients) > 0 || len(u.Unknown) > 0 {
		return u, nil
	}
	return u, exported(base, table)
}

// graceClients stands in Usage.Unknown for NFSv4 clients that the server has not heard of
// since its start.
const graceClients = "(the NFS server has just started, and some NFSv4 clients may not have connected again: try again in two minutes)"

// addOpen adds what the kernel knows of NFSv4 clients: of each the versions whose files it
// has open, or that nothing is known of it. mountd may know another version by an address,
// from before a restart of the node or of a second node behind it: both count.
func (u *Usage) addOpen(base string, s UsageSources, known, unknown map[string]bool) error {
	// Its clients are listed when they have reclaimed what they had (RFC 8881, section 8.4.2.1).
	if ended, err := os.ReadFile(filepath.Join(filepath.Dir(s.Clients), "v4_end_grace")); err == nil && strings.HasPrefix(string(ended), "N") {
		unknown[graceClients] = true
	}
	infos, err := filepath.Glob(filepath.Join(s.Clients, "*", "info"))
	if err != nil {
		return err
	}
	type client struct {
		address string
		open    []openFile
	}
	var clients []client
	files := make(map[openFile]bool)
	for _, name := range infos {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // It has gone meanwhile.
		}
		if err != nil {
			return err
		}
		c := client{address: clientAddress(string(text))}
		if c.address == "" {
			c.address = name
		}
		if slices.Contains(s.Ignore, c.address) {
			continue
		}
		states, err := os.ReadFile(filepath.Join(filepath.Dir(name), "states"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.open = parseStates(string(states))
		for _, f := range c.open {
			files[f] = true
		}
		clients = append(clients, c)
	}
	found, err := versionsOf(base, files)
	if err != nil {
		return err
	}
	for _, c := range clients {
		ids := runs(c.open, found)
		if len(ids) == 0 && !known[c.address] {
			unknown[c.address] = true
		}
		for _, id := range ids {
			u.Open[id] = append(u.Open[id], c.address)
			u.addClient(c.address, id)
		}
	}
	return nil
}

// addClient notes that a client runs a version.
func (u *Usage) addClient(client, id string) {
	if !slices.Contains(u.Clients[id], client) {
		u.Clients[id] = append(u.Clients[id], client)
	}
}

// addMount counts a client's mounts of a version and of what is in it together.
func (u *Usage) addMount(client, id string, count uint64) {
	for i, m := range u.Mounts {
		if m.Client == client && m.ID == id {
			u.Mounts[i].Count += count
			return
		}
	}
	u.Mounts = append(u.Mounts, Mount{Client: client, ID: id, Count: count})
}

// kernelServes tells whether the kernel's server runs. Beside its clients it has
// a file with the number of its threads (fs/nfsd/nfsctl.c).
func kernelServes(clients string) bool {
	if _, err := os.ReadDir(clients); err != nil {
		return false
	}
	threads, err := os.ReadFile(filepath.Join(filepath.Dir(clients), "threads"))
	return err != nil || strings.TrimSpace(string(threads)) != "0"
}

// versionOf is the version that a path of this machine lies in. part says that the path
// has to do with the base, but not which version it is.
func versionOf(base, place string) (id string, part bool) {
	if rest, ok := strings.CutPrefix(place, base+"/"+layout.Dir+"/"); ok {
		id, _, _ = strings.Cut(rest, "/")
		return id, true
	}
	// The base by another name: a bind mount, or a link.
	if prefix, rest, ok := strings.Cut(place, "/"+layout.Dir+"/"); ok && sameFile(base+"/"+layout.Dir, prefix+"/"+layout.Dir) {
		id, _, _ = strings.Cut(rest, "/")
		return id, true
	}
	// The base, what it has besides versions, or something above it.
	return "", strings.HasPrefix(place, base+"/") || baseBelow(place, base) != ""
}

// versionBefore is the version in a path that is not there, and which ends as that of the
// base does: what was mounted may have been the base when the server had another rootdir
// (nfs.conf(5)), or a bind mount that is gone.
func versionBefore(base, mounted string) string {
	prefix, rest, ok := strings.Cut(path.Clean(mounted), "/"+layout.Dir+"/")
	if _, err := os.Stat(prefix + "/" + layout.Dir); !ok || err == nil || !strings.HasSuffix(base, prefix) {
		return ""
	}
	id, _, _ := strings.Cut(rest, "/")
	return id
}

// baseBelow is the name of the base that begins with the directory at place, where that is
// the base or above it; "": it is neither. It is another name than base where place is a
// bind mount of what is above the base, or a link.
func baseBelow(place, base string) string {
	if place == base || place == "/" || strings.HasPrefix(base, place+"/") {
		return base
	}
	for above := base; above != "/"; above = path.Dir(above) {
		if name := place + strings.TrimPrefix(base, above); sameFile(base, name) {
			return name
		}
	}
	return ""
}

// sameMount tells whether no other file system is mounted on the way from a directory to
// what is below it. Before Linux 5.8 the kernel does not say.
func sameMount(dir, below string) bool {
	var a, b unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_MNT_ID, &a) != nil || unix.Statx(unix.AT_FDCWD, below, 0, unix.STATX_MNT_ID, &b) != nil {
		return false
	}
	return a.Mask&b.Mask&unix.STATX_MNT_ID == 0 || a.Mnt_id == b.Mnt_id
}

// sameFile tells whether both names lead to the same file.
func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// exported is an error unless the kernel's server exports a part of the base, or what
// it is in. An export ends where another file system is mounted, unless it has crossmnt
// (exports(5)).
func exported(base string, table exports.Table) error {
	for _, e := range table.Exports {
		if name := baseBelow(e.Path, base); name != "" {
			if sameMount(e.Path, name) || e.Has("crossmnt") {
				return nil
			}
			continue
		}
		if _, part := versionOf(base, e.Path); part {
			return nil
		}
	}
	return ErrNotExported
}

// parseRmtab reads CLIENT:PATH:COUNT lines, COUNT in hexadecimal (nfs-utils,
// support/nfs/rmtab.c). Lines of another form are passed over.
func parseRmtab(r io.Reader, mount func(client, path string, count uint64)) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		end := strings.LastIndex(line, ":")
		start := strings.Index(line, ":/")
		if start <= 0 || end <= start {
			continue
		}
		count, err := strconv.ParseUint(strings.TrimPrefix(line[end+1:], "0x"), 16, 64)
		if err == nil && count == 0 {
			continue // Unmounted.
		}
		mount(line[:start], line[start+1:end], count)
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
