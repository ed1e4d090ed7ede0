package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	beneath "github.com/sidusboot/sidusboot/tree"
)

// A tree is the root tree that an image is built from. Names are those of the
// tree, and errors name files as the host does.
type tree struct {
	dir   string
	files beneath.Tree
}

func openTree(dir string) (*tree, error) {
	fi, err := os.Stat(dir)
	if err != nil {
		return nil, OptionErrorf("Root", "%w: %s", err, remedyFor(err, "give the root tree that the nodes mount"))
	}
	if !fi.IsDir() {
		return nil, OptionErrorf("Root", "%s is not a directory: give the root tree that the nodes mount", dir)
	}
	return &tree{dir: dir, files: beneath.At(dir)}, nil
}

// path is how a name in the tree is called on the host, for messages.
func (t *tree) path(name string) string { return filepath.Join(t.dir, filepath.Clean("/"+name)) }

// errNotRegular is about what is there and no file: a directory, a FIFO, a device.
var errNotRegular = errors.New("not a regular file")

// maxFile is the most that one file of a tree may have, as it is and unpacked:
// more is no module, no firmware and no list of modules.
const maxFile = 256 << 20

// errTooLarge is about a file of more than maxFile.
var errTooLarge = fmt.Errorf("larger than %d MB", maxFile>>20)

func (t *tree) readFile(name string) ([]byte, error) {
	data, err := t.files.ReadFileMax(name, maxFile)
	if err != nil {
		return nil, t.wrap("open", name, err)
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
	if fi.Size() > maxFile {
		return nil, errTooLarge
	}
	var b bytes.Buffer
	b.Grow(int(fi.Size()) + bytes.MinRead)
	n, err := io.Copy(&b, io.LimitReader(f, maxFile+1))
	if err == nil && n > maxFile {
		err = errTooLarge
	}
	return b.Bytes(), err
}

// readDir lists a directory, sorted by name.
func (t *tree) readDir(name string) ([]fs.DirEntry, error) {
	entries, err := t.files.ReadDir(name)
	if err != nil {
		return nil, t.wrap("open", name, err)
	}
	return entries, nil
}

// stat tells what the name is, or what it links to.
func (t *tree) stat(name string) (fs.FileInfo, error) {
	fi, err := t.files.Stat(name)
	if err != nil {
		return nil, t.wrap("stat", name, err)
	}
	return fi, nil
}

// resolve turns a name into one without links.
func (t *tree) resolve(name string) (string, error) {
	real, err := t.files.Resolve(name)
	if err != nil {
		return "", t.wrap("open", name, err)
	}
	return real, nil
}

// wrap names the file as the host sees it. Whatever was wanted of it, there is
// one remedy for one that may not be read.
func (t *tree) wrap(op, name string, err error) error {
	var (
		path *fs.PathError
		kind *beneath.KindError
		size *beneath.SizeError
	)
	switch {
	case errors.As(err, &path):
		op, err = path.Op, path.Err
	case errors.As(err, &kind):
		err = errNotRegular
	case errors.As(err, &size):
		op, err = "read", errTooLarge
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
		return "run as root, or make it readable"
	}
	return otherwise
}
