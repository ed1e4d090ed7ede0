// Package tree reads and writes files beneath the root directory of another
// system: a tree that a server exports, or the union of it with what a node has
// kept. Links in it, absolute ones too, lead to where they would lead a process
// whose root directory it is, and never out of it (openat2(2), RESOLVE_IN_ROOT).
// Whoever could write to that system before may have left anything in the place
// of a file: a link, a FIFO, a device, a directory, a file without an end. None
// of it makes the caller wait, or read or write anything else.
//
// It needs Linux 5.6 and /proc.
package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Tree is the root directory of another system.
type Tree struct{ dir string }

// At is the tree in the directory dir, which need not exist yet.
func At(dir string) Tree { return Tree{dir} }

// MaxFile is the size of the largest file that ReadFile reads.
const MaxFile = 16 << 20

// A KindError says that something else is in the place of a regular file.
type KindError struct {
	// Name is that of the file in the tree.
	Name string
	// Mode tells what it is.
	Mode fs.FileMode
}

func (e *KindError) Error() string {
	return e.Name + " is " + kind(e.Mode) + ", not a regular file: remove it"
}

// Empty tells whether what is there holds nothing: a FIFO, a socket, a device.
// A program that opens it may wait for ever.
func (e *KindError) Empty() bool {
	return e.Mode&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}

// A SizeError says that a file is larger than what is read of one.
type SizeError struct {
	Name      string
	Size, Max int64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s has %d bytes, more than the %d that are read", e.Name, e.Size, e.Max)
}

// Resolve returns the name without links of something that exists in the tree.
func (t Tree) Resolve(name string) (string, error) {
	f, err := t.open(name, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer f.Close()
	top, err := t.open("/", unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer top.Close()
	// Of O_PATH descriptors too, the kernel tells the path (proc_pid_fd(5)).
	found, err := os.Readlink(procPath(f))
	if err != nil {
		return "", err
	}
	dir, err := os.Readlink(procPath(top))
	if err != nil {
		return "", err
	}
	return path.Join("/", strings.TrimPrefix(found, strings.TrimSuffix(dir, "/"))), nil
}

func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// Stat tells what a name, or what it links to, is.
func (t Tree) Stat(name string) (fs.FileInfo, error) { return t.stat(name, 0) }

// Lstat tells what a name is; a link in its last place is not followed.
func (t Tree) Lstat(name string) (fs.FileInfo, error) { return t.stat(name, unix.O_NOFOLLOW) }

func (t Tree) stat(name string, flags uint64) (fs.FileInfo, error) {
	f, err := t.open(name, unix.O_PATH|flags)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// IsDir tells whether a name is, or links to, a directory.
func (t Tree) IsDir(name string) bool {
	info, err := t.Stat(name)
	return err == nil && info.IsDir()
}

// Readlink is what a link leads to, as it is written in it.
func (t Tree) Readlink(name string) (string, error) {
	f, err := t.open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", b)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(b[:n]), nil
}

// Open opens a regular file for reading. Anything else is a *KindError, and is
// not opened: that could wait for ever, or do something to a device.
func (t Tree) Open(name string) (*os.File, error) {
	info, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &KindError{Name: name, Mode: info.Mode()}
	}
	f, err := t.open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = &KindError{Name: name, Mode: info.Mode()} // It was replaced meanwhile.
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadDir lists a directory, sorted by name.
func (t Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := t.open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: name, Err: err}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// ReadFile reads a regular file of at most MaxFile bytes.
func (t Tree) ReadFile(name string) ([]byte, error) { return t.ReadFileMax(name, MaxFile) }

// ReadFileMax reads a regular file of at most limit bytes. A larger one is a
// *SizeError.
func (t Tree) ReadFileMax(name string, limit int64) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size <= limit {
		var b bytes.Buffer
		b.Grow(int(size) + bytes.MinRead)
		n, err := io.Copy(&b, io.LimitReader(f, limit+1)) // It may have grown.
		if err != nil || n <= limit {
			return b.Bytes(), err
		}
		size = n
	}
	return nil, &SizeError{Name: name, Size: size, Max: limit}
}

// Executable returns nil if a name is, or links to, a regular file that may be
// executed.
func (t Tree) Executable(name string) error {
	info, err := t.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file: %w", name, unix.ENOEXEC)
	}
	return nil
}

// maxRaces is how often a look-up is begun again because another process renamed a
// directory meanwhile (openat2(2), EAGAIN).
const maxRaces = 10

// open opens a name beneath the tree's directory, which is opened for it: so a
// Tree has nothing to close, and may be mounted over.
func (t Tree) open(name string, flags uint64) (*os.File, error) {
	dir, err := unix.Open(t.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: t.dir, Err: err}
	}
	defer unix.Close(dir)
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	inside := strings.TrimLeft(name, "/")
	if inside == "" {
		inside = "."
	}
	for range maxRaces {
		var fd int
		fd, err = unix.Openat2(dir, inside, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: err}
}
