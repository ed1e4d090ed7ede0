package versions

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Difference is what an update from one version to another does.
type Difference struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Packages are Debian's, by name.
	Packages []Change `json:"packages"`
	// Kernels are releases in lib/modules.
	Kernels []Change `json:"kernels"`
	// Etc are the paths below /etc, and Files all the others, without
	// directories of which only the time differs.
	Etc   []Change `json:"etc"`
	Files []Change `json:"files"`
}

// A Change is one thing that was added, removed or changed.
type Change struct {
	Name string `json:"name"`
	// From and To are empty where the thing was not there. For packages they are
	// versions, for files "content" or "attributes".
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Diff compares two versions. The content of files that are not one inode is
// read.
func (b *Base) Diff(ctx context.Context, from, to string) (Difference, error) {
	d := Difference{From: from, To: to, Etc: []Change{}, Files: []Change{}} // JSON's [], not null.
	var dirs [2]int
	var packages, kernels [2]map[string]string
	for i, id := range []string{from, to} {
		if err := b.exists(id); err != nil {
			return d, err
		}
		fd, err := openDir(b.all, id)
		if err != nil {
			return d, err
		}
		defer unix.Close(fd)
		dirs[i] = fd
		if packages[i], err = installed(fd); err != nil {
			return d, err
		}
		kernels[i] = make(map[string]string)
		for _, release := range b.kernels(id) {
			kernels[i][release] = "there"
		}
	}
	d.Packages = changes(packages[0], packages[1])
	d.Kernels = changes(kernels[0], kernels[1])
	err := compare(ctx, dirs[0], dirs[1], "", func(c Change) {
		if strings.HasPrefix(c.Name, "etc/") {
			d.Etc = append(d.Etc, c)
		} else {
			d.Files = append(d.Files, c)
		}
	})
	return d, err
}

func changes(from, to map[string]string) []Change {
	all := maps.Clone(from)
	maps.Copy(all, to)
	list := []Change{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if from[name] != to[name] {
			list = append(list, Change{name, from[name], to[name]})
		}
	}
	return list
}

// installed are the versions of Debian's packages in a tree, by name; none
// where it has no dpkg.
func installed(dir int) (map[string]string, error) {
	var f *os.File
	err := beneath(dir, "var/lib/dpkg/status", func(fd int) { f = os.NewFile(uintptr(fd), "dpkg/status") })
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	defer f.Close()
	return parseStatus(f)
}

// beneath opens a file below a directory; no link in its path leads out.
func beneath(dir int, name string, use func(fd int)) error {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(dir, name, &how)
	if err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	use(fd)
	return nil
}

// parseStatus reads dpkg's status file (deb822(5)): the packages of which
// Status ends in "installed". Two architectures of one package have the
// architecture behind their names.
func parseStatus(r io.Reader) (map[string]string, error) {
	all := make(map[string]string)
	var name, version, arch, status string
	end := func() {
		if name != "" && strings.HasSuffix(status, " installed") {
			if _, taken := all[name]; taken {
				name += ":" + arch
			}
			all[name] = version
		}
		name, version, arch, status = "", "", "", ""
	}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		switch text := strings.TrimRight(line, "\r\n"); {
		case text == "":
			end()
		default:
			key, value, _ := strings.Cut(text, ":")
			value = strings.TrimSpace(value)
			switch key {
			case "Package":
				name = value
			case "Version":
				version = value
			case "Architecture":
				arch = value
			case "Status":
				status = value
			}
		}
		if errors.Is(err, io.EOF) {
			end()
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// What a Change of a file says.
const (
	changedContent    = "content"
	changedAttributes = "attributes"
)

// compare reports every name below two directories that differs, in order.
func compare(ctx context.Context, from, to int, rel string, report func(Change)) error {
	old, err := names(from)
	if err != nil {
		return err
	}
	current, err := names(to)
	if err != nil {
		return err
	}
	all := append(old, current...)
	for _, name := range slices.Compact(sorted(all)) {
		path := filepath.Join(rel, name)
		a, errA := statAt(from, name)
		b, errB := statAt(to, name)
		if err := errors.Join(notMissing(errA), notMissing(errB)); err != nil {
			return err
		}
		switch {
		case errA != nil:
			report(Change{Name: path, To: changedContent})
		case errB != nil:
			report(Change{Name: path, From: changedContent})
		case isType(a, unix.S_IFDIR) && isType(b, unix.S_IFDIR):
			if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid {
				report(Change{path, changedAttributes, changedAttributes})
			}
			if err := compareDirs(ctx, from, to, name, path, report); err != nil {
				return err
			}
		default:
			what, err := compareFiles(ctx, from, to, name, a, b)
			if err != nil {
				return err
			}
			if what != "" {
				report(Change{path, what, what})
			}
		}
	}
	return nil
}

func notMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func compareDirs(ctx context.Context, from, to int, name, path string, report func(Change)) error {
	a, err := openDir(from, name)
	if err != nil {
		return err
	}
	defer unix.Close(a)
	b, err := openDir(to, name)
	if err != nil {
		return err
	}
	defer unix.Close(b)
	return compare(ctx, a, b, path, report)
}

// compareFiles says what differs between two files that are no directories both.
func compareFiles(ctx context.Context, from, to int, name string, a, b unix.Stat_t) (string, error) {
	if a.Dev == b.Dev && a.Ino == b.Ino {
		return "", nil
	}
	if a.Mode&unix.S_IFMT != b.Mode&unix.S_IFMT || a.Rdev != b.Rdev {
		return changedContent, nil
	}
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		x, errX := os.Readlink(at(from, name))
		y, errY := os.Readlink(at(to, name))
		if err := errors.Join(errX, errY); err != nil || x != y {
			return changedContent, err
		}
	case unix.S_IFREG:
		if a.Size != b.Size {
			return changedContent, nil
		}
		same, err := sameContent(ctx, from, to, name, a.Size)
		if err != nil || !same {
			return changedContent, err
		}
	}
	if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid {
		return changedAttributes, nil
	}
	return "", nil
}

// sameContent compares two files of a size.
func sameContent(ctx context.Context, from, to int, name string, size int64) (bool, error) {
	var files [2]*os.File
	for i, dir := range []int{from, to} {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return false, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		files[i] = os.NewFile(uintptr(fd), name)
		defer files[i].Close()
	}
	return sameBytes(ctx, files[0], files[1], size, make([]byte, bufBytes), make([]byte, bufBytes))
}
