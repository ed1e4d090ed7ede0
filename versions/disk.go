package versions

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A disk makes the calls that change a base. Every one goes through here, so
// that a test can end the program before any of them.
type disk struct {
	// before, which may be nil, is called before each one and can refuse it.
	before func(call, name string) error
}

// do makes one call and says what it was about when it fails.
func (d *disk) do(call, name string, f func() error) error {
	if d.before != nil {
		if err := d.before(call, name); err != nil {
			return &fs.PathError{Op: call, Path: name, Err: err}
		}
	}
	for {
		err := f()
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: call, Path: name, Err: err}
		}
		return nil
	}
}

func (d *disk) mkdir(dir int, name string) error {
	return d.do("mkdir", name, func() error { return unix.Mkdirat(dir, name, 0o700) })
}

func (d *disk) link(oldDir int, oldName string, dir int, name string) error {
	return d.do("link", name, func() error { return unix.Linkat(oldDir, oldName, dir, name, 0) })
}

func (d *disk) symlink(target string, dir int, name string) error {
	return d.do("symlink", name, func() error { return unix.Symlinkat(target, dir, name) })
}

func (d *disk) mknod(dir int, name string, mode uint32, dev int) error {
	return d.do("mknod", name, func() error { return unix.Mknodat(dir, name, mode, dev) })
}

// rename replaces what has the new name.
func (d *disk) rename(dir int, from, to string) error {
	return d.do("rename", to, func() error { return unix.Renameat(dir, from, dir, to) })
}

// renameNew fails with EEXIST where the new name is taken. NFS and ZFS before
// 2.2 cannot look and rename in one (EINVAL): there the base's lock has to do.
func (d *disk) renameNew(dir int, from, to string) error {
	err := d.do("rename", to, func() error { return unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE) })
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if _, err := statAt(dir, to); err == nil {
		return &fs.PathError{Op: "rename", Path: to, Err: unix.EEXIST}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.rename(dir, from, to)
}

func (d *disk) unlink(dir int, name string, flags int) error {
	return d.do("unlink", name, func() error { return unix.Unlinkat(dir, name, flags) })
}

func (d *disk) create(dir int, name string) (*os.File, error) {
	var fd int
	err := d.do("create", name, func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// sync puts a directory's names on the disk.
func (d *disk) sync(dir int, name string) error {
	return d.do("fsync", name, func() error { return unix.Fsync(dir) })
}

// syncAll puts everything of the file system on the disk.
func (d *disk) syncAll(dir int, name string) error {
	return d.do("syncfs", name, func() error { return unix.Syncfs(dir) })
}

// openDir opens a directory that is no link.
func openDir(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

func statAt(dir int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return st, nil
}

// names lists a directory in order.
func names(dir int) ([]string, error) {
	// A descriptor of its own: reading moves its position.
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "directory")
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.Name()
	}
	return sorted(all), nil
}

func isType(st unix.Stat_t, kind uint32) bool { return st.Mode&unix.S_IFMT == kind }

func typeName(st unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a link"
	case unix.S_IFREG:
		return "a file"
	}
	return fmt.Sprintf("of type %#o", st.Mode&unix.S_IFMT)
}
