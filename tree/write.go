package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// suffix ends the name of a file that is being written. One that a power cut
// has left is removed by the next Replace.
const suffix = ".sidusboot"

// maxNames is how many names are tried for a file that is being written.
const maxNames = 8

// Replace gives a file a new content, whole or not at all. A link, FIFO or device
// in its place is replaced, not followed or opened; a directory in its place is
// a *KindError. A file keeps its mode and its owner; where it has that content
// already nothing is written. The directories above it are made where there are
// none.
func (t Tree) Replace(name string, content []byte) error { return t.replace(name, content, 0) }

// ReplaceMode is Replace for a file that is to have a mode, whatever it had.
func (t Tree) ReplaceMode(name string, content []byte, mode fs.FileMode) error {
	return t.replace(name, content, mode)
}

// replace gives a file a mode unless wanted is 0.
func (t Tree) replace(name string, content []byte, wanted fs.FileMode) error {
	mode, owner := fs.FileMode(0o644), (*syscall.Stat_t)(nil)
	switch info, err := t.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
		if err := t.MkdirAll(path.Dir(path.Clean("/" + name))); err != nil {
			return err
		}
	case err != nil:
		return err
	case info.IsDir():
		return &KindError{Name: name, Mode: info.Mode()}
	case info.Mode().IsRegular():
		if info.Size() == int64(len(content)) && (wanted == 0 || wanted == info.Mode().Perm()) {
			if old, err := t.ReadFile(name); err == nil && bytes.Equal(old, content) {
				return nil
			}
		}
		mode = info.Mode().Perm() // fstab may hold passwords.
		owner, _ = info.Sys().(*syscall.Stat_t)
	}
	if wanted != 0 {
		mode = wanted
	}
	dir, err := t.open(path.Dir(path.Clean("/"+name)), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	base := path.Base(path.Clean("/" + name))
	temp, f, err := create(dir, base)
	if err != nil {
		return failure("write", name, err)
	}
	err = fill(f, content, mode, owner)
	if err := errors.Join(err, f.Close()); err != nil {
		_ = unix.Unlinkat(int(dir.Fd()), temp, 0)
		return failure("write", name, err)
	}
	if err := unix.Renameat(int(dir.Fd()), temp, int(dir.Fd()), base); err != nil {
		_ = unix.Unlinkat(int(dir.Fd()), temp, 0)
		return failure("replace", name, err)
	}
	return nil
}

// create makes a new file beside the one that it will replace. What has its name
// is removed, or left where that cannot be; it is never written to.
func create(dir *os.File, base string) (name string, f *os.File, err error) {
	for i := range maxNames {
		name = base + suffix
		if i > 0 {
			name += strconv.Itoa(i)
		}
		// An error shows below: then the name is taken.
		_ = unix.Unlinkat(int(dir.Fd()), name, 0)
		var fd int
		fd, err = unix.Openat(int(dir.Fd()), name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return name, os.NewFile(uintptr(fd), name), nil
		}
		if !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	return "", nil, err
}

// fill writes a new file to the disk. The sync keeps a power cut from leaving an
// empty file under the name of the old one.
func fill(f *os.File, content []byte, mode fs.FileMode, owner *syscall.Stat_t) error {
	if _, err := f.Write(content); err != nil {
		return err
	}
	if owner != nil && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Sync()
}

// Remove removes a file, or the link in its place. One that is not there is no
// error.
func (t Tree) Remove(name string) error {
	name = path.Clean("/" + name)
	dir, err := t.open(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	err = unix.Unlinkat(int(dir.Fd()), path.Base(name), 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return failure("remove", name, err)
	}
	return nil
}

// maxDepth is how many directories above each other are made at most.
const maxDepth = 64

// MkdirAll makes a directory, with those above it, where there is none.
func (t Tree) MkdirAll(name string) error { return t.mkdirAll(path.Clean("/"+name), maxDepth) }

func (t Tree) mkdirAll(name string, depth int) error {
	info, err := t.Stat(name)
	if err == nil {
		if !info.IsDir() {
			return failure("mkdir", name, unix.ENOTDIR)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if depth == 0 || name == "/" {
		return failure("mkdir", name, fmt.Errorf("%w: too many directories", unix.ENOENT))
	}
	if err := t.mkdirAll(path.Dir(name), depth-1); err != nil {
		return err
	}
	dir, err := t.open(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	// A link to nothing is in the way: EEXIST.
	if err := unix.Mkdirat(int(dir.Fd()), path.Base(name), 0o755); err != nil {
		return failure("mkdir", name, err)
	}
	return nil
}

// failure names a file that could not be written as it is called in the tree.
func failure(op, name string, err error) error {
	if errors.Is(err, unix.EPERM) {
		// Root may do everything else.
		err = fmt.Errorf("%w: it or its directory cannot be changed (lsattr shows i or a: chattr -ia)", err)
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
