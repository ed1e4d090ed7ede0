package initrd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// An Extraction says what Extract wrote.
type Extraction struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Skipped are devices, FIFOs and sockets. They are not made.
	Skipped []string `json:"skipped"`
}

// An EscapeError says that a file of an image would lead out of the directory to
// which it is extracted.
type EscapeError struct{ Path string }

func (e *EscapeError) Error() string {
	return fmt.Sprintf("%q would be written outside the directory: no generator makes such an initrd, so do not trust this one", e.Path)
}

// Extract writes the files of an image into a directory, which must be empty or not
// there. paths, where there are any, choose files, and directories with all that is in
// them.
//
// Nothing is written outside the directory, whatever is in the image. The files belong
// to whoever runs it, without set-user-ID and set-group-ID bits; devices, FIFOs and sockets
// are not made. Links are made as they are, wherever they lead, and nothing is written
// through one that leads out. After an error what has been written stays.
func Extract(ctx context.Context, image io.Reader, dir string, paths ...string) (*Extraction, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := checkEmpty(root, dir); err != nil {
		return nil, err
	}
	x := &extractor{ctx: ctx, r: NewReader(image), root: root, paths: paths, found: make([]bool, len(paths)), dirs: make(map[string]fs.FileMode)}
	x.done.Skipped = []string{}
	for {
		f, err := x.r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = x.extract(f)
		}
		if err != nil {
			return &x.done, err
		}
	}
	if err := x.closeDirs(); err != nil {
		return &x.done, err
	}
	for i, ok := range x.found {
		if !ok {
			return &x.done, &NotFoundError{Path: paths[i]}
		}
	}
	return &x.done, nil
}

func checkEmpty(root *os.Root, dir string) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if names, err := d.Readdirnames(1); err == nil {
		return fmt.Errorf("%s is not empty (it has %s): give a new directory", dir, names[0])
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

type extractor struct {
	ctx   context.Context
	r     *Reader
	root  *os.Root
	paths []string
	found []bool // By path.
	// dirs are the modes of directories. They get them in the end: one that may not be
	// written is to be filled first.
	dirs map[string]fs.FileMode
	done Extraction
}

// chosen tells whether a file is to be extracted.
func (x *extractor) chosen(name string) bool {
	if len(x.paths) == 0 {
		return true
	}
	is := false
	for i, p := range x.paths {
		p = path.Clean(strings.TrimLeft(p, "/"))
		if p == "." || name == p || strings.HasPrefix(name, p+"/") {
			x.found[i], is = true, true
		}
	}
	return is
}

func (x *extractor) extract(f *File) error {
	if path.IsAbs(f.Path) || hasDotDot(f.Path) || strings.ContainsRune(f.Path, 0) {
		return &EscapeError{Path: f.Path}
	}
	if !x.chosen(f.Path) {
		return nil
	}
	if err := x.write(f); err != nil {
		// os.Root has no error of its own for a link that leads out.
		if strings.HasSuffix(err.Error(), ": path escapes from parent") {
			return &EscapeError{Path: f.Path}
		}
		return err
	}
	return nil
}

func (x *extractor) write(f *File) error {
	if parent := path.Dir(f.Path); parent != "." {
		if err := x.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	if f.Mode.IsDir() {
		return x.mkdir(f)
	}
	switch {
	case f.Mode.IsRegular() && f.HardLink == f.Path:
		// The same name again: its content follows.
	default:
		if err := x.root.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(x.dirs, f.Path)
	}
	switch {
	case f.Mode.IsLink():
		x.done.Files++
		return x.root.Symlink(f.Link, f.Path)
	case f.Mode.IsRegular():
		return x.writeFile(f)
	}
	x.done.Skipped = append(x.done.Skipped, f.Path)
	return nil
}

func (x *extractor) mkdir(f *File) error {
	info, err := x.root.Lstat(f.Path)
	if err == nil && !info.IsDir() {
		if err := x.root.Remove(f.Path); err != nil {
			return err
		}
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = x.root.Mkdir(f.Path, 0o755)
	}
	x.dirs[f.Path] = fs.FileMode(f.Mode).Perm()
	return err
}

func (x *extractor) writeFile(f *File) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	switch {
	case f.HardLink == "":
	case !x.chosen(f.HardLink):
		if f.Bytes == 0 {
			return fmt.Errorf("%s: it is a hard link to %s: extract that file as well", f.Path, f.HardLink)
		}
	default:
		if f.HardLink != f.Path {
			if err := x.root.Link(f.HardLink, f.Path); err != nil {
				return err
			}
		}
		if f.Bytes == 0 {
			x.done.Files++
			return nil
		}
		// The content comes with a later name than the first.
		if err := x.root.Chmod(f.Path, 0o600); err != nil {
			return err
		}
		flags = os.O_WRONLY | os.O_TRUNC | syscall.O_NOFOLLOW
	}
	out, err := x.root.OpenFile(f.Path, flags, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, contextReader{x.ctx, x.r})
	x.done.Files++
	x.done.Bytes += n
	if err == nil {
		err = out.Chmod(fs.FileMode(f.Mode).Perm())
	}
	return errors.Join(err, out.Close())
}

// closeDirs gives the directories their modes, the deepest first.
func (x *extractor) closeDirs() error {
	var names []string
	for name := range x.dirs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if name == "." {
			continue
		}
		if info, err := x.root.Lstat(name); err != nil || !info.IsDir() {
			continue
		}
		if err := x.root.Chmod(name, x.dirs[name]); err != nil {
			return err
		}
	}
	return nil
}

// A contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
