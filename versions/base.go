package versions

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// A Base is an opened base. One goroutine uses it at a time.
type Base struct {
	path string
	dir  int // the base
	all  int // its versions
	note int // its notes
	disk *disk
}

// Open opens a base that Init has made. The error is a *LayoutError where path
// is something else.
func Open(path string) (*Base, error) { return open(path, &disk{}) }

func open(path string, d *disk) (*Base, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	b := &Base{path: abs, dir: -1, all: -1, note: -1, disk: d}
	if b.dir, err = unix.Open(abs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, &fs.PathError{Op: "open", Path: abs, Err: err}
	}
	for _, sub := range []struct {
		name string
		fd   *int
	}{{layout.Dir, &b.all}, {notesDir, &b.note}} {
		if *sub.fd, err = openDir(b.dir, sub.name); err != nil {
			b.Close()
			if errors.Is(err, fs.ErrNotExist) {
				return nil, &LayoutError{abs, "is not a base: it has no " + sub.name, "make one with sidustree init " + abs}
			}
			return nil, notDirectory(filepath.Join(abs, sub.name), err, "put a directory on this file system there")
		}
		st, err := statAt(b.dir, sub.name)
		if err == nil {
			err = b.sameFileSystem(sub.name, st)
		}
		if err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// notDirectory is the error for a path that openDir could not open: a
// *LayoutError only where something else is there.
func notDirectory(path string, err error, remedy string) error {
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return &LayoutError{path, "is not a directory", remedy}
	case errors.Is(err, fs.ErrPermission):
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w: a base belongs to root: run sidustree as root", fs.ErrPermission)}
	}
	return err
}

// sameFileSystem makes sure that a rename(2) is possible.
func (b *Base) sameFileSystem(name string, st unix.Stat_t) error {
	var own unix.Stat_t
	if err := unix.Fstat(b.dir, &own); err != nil {
		return err
	}
	if st.Dev != own.Dev {
		return &LayoutError{filepath.Join(b.path, name), "is on another file system than the base", "keep the whole base on one file system"}
	}
	return nil
}

// Close gives the base's descriptors back.
func (b *Base) Close() {
	for _, fd := range []int{b.dir, b.all, b.note} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// Path is where the base is.
func (b *Base) Path() string { return b.path }

// change takes the base's lock, removes what ended programs have left, and runs
// f. The error is a *BusyError where another program has the lock.
func (b *Base) change(f func() error) error {
	fd, err := unix.Openat(b.note, "lock", unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "open", Path: filepath.Join(b.path, notesDir, "lock"), Err: err}
	}
	// The lock is given back by name: a program that another thread is starting has
	// a copy of the descriptor until it runs.
	defer func() {
		_ = unix.Flock(fd, unix.LOCK_UN)
		_ = unix.Close(fd)
	}()
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return &BusyError{b.path}
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", b.path, err)
	}
	if err := b.removeUnfinished(); err != nil {
		return fmt.Errorf("remove what an earlier run left in %s: %w", b.path, err)
	}
	return f()
}

// removeUnfinished removes what has the name of something unfinished.
func (b *Base) removeUnfinished() error {
	for _, place := range []struct {
		dir      int
		prefixes []string
	}{{b.dir, []string{newPrefix, linkPrefix}}, {b.all, []string{newPrefix, gonePrefix}}, {b.note, []string{newPrefix}}} {
		all, err := names(place.dir)
		if err != nil {
			return err
		}
		for _, name := range all {
			if slices.ContainsFunc(place.prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
				if err := b.disk.removeAll(place.dir, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func sorted(s []string) []string { slices.Sort(s); return s }
