package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A tree is the root tree that an image is built from. Names are relative to
// it, and links in it, absolute ones too, lead to where they would lead a node
// that has mounted it: never out to the host.
type tree struct {
	dir  string
	root *os.Root

	mu    sync.Mutex
	links map[string]string // Target of what has been looked at, "" if no link.
}

func openTree(dir string) (*tree, error) {
	fi, err := os.Stat(dir)
	if err != nil {
		return nil, optionErrorf("Root", "%w: %s", err, remedyFor(err, "name the root tree that the nodes mount"))
	}
	if !fi.IsDir() {
		return nil, optionErrorf("Root", "%s is not a directory: name the root tree that the nodes mount", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, optionErrorf("Root", "%w: %s", err, remedyFor(err, "name the root tree that the nodes mount"))
	}
	return &tree{dir: dir, root: root, links: make(map[string]string)}, nil
}

func (t *tree) close() error { return t.root.Close() }

// path is how a name in the tree is called on the host, for messages.
func (t *tree) path(name string) string { return filepath.Join(t.dir, filepath.Clean("/"+name)) }

// errNotRegular is about what is there and no file: a directory, a FIFO, a device.
var errNotRegular = errors.New("not a regular file")

// maxFile is the most that one file of a tree may have, as it is and unpacked:
// more is no module, no firmware and no list of modules.
const maxFile = 256 << 20

func (t *tree) readFile(name string) ([]byte, error) {
	real, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	// Looked at first, because opening may do something to a device, and once more
	// after it. A FIFO in place of the file would hang the build.
	fi, err := t.root.Stat(real)
	if err != nil {
		return nil, t.wrap("open", name, err)
	}
	if !fi.Mode().IsRegular() {
		return nil, t.wrap("open", name, errNotRegular)
	}
	f, err := t.root.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, t.wrap("open", name, err)
	}
	defer f.Close()
	data, err := readRegular(f)
	if err != nil {
		return nil, t.wrap("read", name, err)
	}
	return data, nil
}

// readRegular reads an open file, if it is one and of a size that can be.
func readRegular(f *os.File) ([]byte, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, errNotRegular
	}
	tooLarge := fmt.Errorf("larger than %d MB", maxFile>>20)
	if fi.Size() > maxFile {
		return nil, tooLarge
	}
	var b bytes.Buffer
	b.Grow(int(fi.Size()) + bytes.MinRead)
	n, err := io.Copy(&b, io.LimitReader(f, maxFile+1))
	if err == nil && n > maxFile {
		err = tooLarge
	}
	return b.Bytes(), err
}

// readDir lists a directory, sorted by name.
func (t *tree) readDir(name string) ([]fs.DirEntry, error) {
	real, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	// A FIFO in place of the directory would hang the build.
	f, err := t.root.OpenFile(real, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, t.wrap("open", name, err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, t.wrap("read", name, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// stat tells what the name is, or what it links to.
func (t *tree) stat(name string) (fs.FileInfo, error) {
	real, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	fi, err := t.root.Stat(real)
	if err != nil {
		return nil, t.wrap("stat", name, err)
	}
	return fi, nil
}

// maxLinks is the kernel's own limit (MAXSYMLINKS in include/linux/namei.h).
const maxLinks = 40

// resolve turns a name into one without links. os.Root alone refuses absolute
// links, which are common in a root tree.
func (t *tree) resolve(name string) (string, error) {
	done, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		switch word {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done) // Of "." it is "." again.
			continue
		}
		next := path.Join(done, word)
		target, err := t.readlink(next)
		if err != nil {
			return "", t.wrap("open", name, err)
		}
		if target == "" {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", t.wrap("open", name, syscall.ELOOP)
		}
		if strings.HasPrefix(target, "/") {
			done = "."
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}

// readlink gives the target of a link, "" for anything else.
func (t *tree) readlink(name string) (string, error) {
	t.mu.Lock()
	target, ok := t.links[name]
	t.mu.Unlock()
	if ok {
		return target, nil
	}
	fi, err := t.root.Lstat(name)
	if err != nil {
		return "", err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		if target, err = t.root.Readlink(name); err != nil {
			return "", err
		}
	}
	t.mu.Lock()
	t.links[name] = target
	t.mu.Unlock()
	return target, nil
}

// wrap names the file as the host sees it. Whatever was wanted of it, there is
// one remedy for one that may not be read.
func (t *tree) wrap(op, name string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	err = &fs.PathError{Op: op, Path: t.path(name), Err: err}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: %s", err, remedyFor(err, ""))
	}
	return err
}

// remedyFor is the remedy for a file that could not be read.
func remedyFor(err error, otherwise string) string {
	if errors.Is(err, fs.ErrPermission) {
		return "build as root or make it readable"
	}
	return otherwise
}
