package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// An output is a file that appears under its name whole or not at all.
type output struct {
	flag, path string
	file       *os.File
	mode       fs.FileMode
	committed  bool
	failed     error // The first error in writing.
}

// Modes of outputs: a boot server reads them as another user, unless there are
// secrets in them.
const (
	publicMode fs.FileMode = 0o644
	secretMode fs.FileMode = 0o600
)

// checkOutputs refuses to write over another file of the same command line,
// however the two are spelled.
func checkOutputs(opts options) error {
	for _, o := range []struct{ flag, path string }{{"--output", opts.Output}, {"--report", opts.Report}} {
		for _, other := range []struct{ flag, path string }{
			{"--output", opts.Output}, {"--init", opts.Init}, {"--rescue", opts.Rescue}, {"--config", opts.Config},
			{"--secrets", opts.Secrets},
		} {
			if o.flag != other.flag && o.path != "" && other.path != "" && samePlace(o.path, other.path) {
				return usagef("%s and %s are the same file: name another", o.flag, other.flag)
			}
		}
	}
	return nil
}

// samePlace tells whether two paths lead to the same name in the same folder.
func samePlace(a, b string) bool {
	a, b = place(a), place(b)
	if filepath.Base(a) != filepath.Base(b) {
		return false
	}
	dirA, errA := os.Stat(filepath.Dir(a))
	dirB, errB := os.Stat(filepath.Dir(b))
	return errA == nil && errB == nil && os.SameFile(dirA, dirB)
}

// place is where a path leads. A link stays a link, a dead one too: what it
// leads to is replaced.
func place(path string) string {
	for range maxLinks {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real
		}
		target, err := os.Readlink(path)
		if err != nil {
			return path
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path
}

// createOutput opens a temporary file beside path. Whoever calls it calls abort
// in the end, after commit too.
func createOutput(flag, path string, mode fs.FileMode) (*output, error) {
	path = place(path)
	if fi, err := os.Stat(path); err == nil {
		if fi.IsDir() {
			return nil, fmt.Errorf("%s: %s is a directory: name a file in it", flag, path)
		}
		if !fi.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: %s is not a regular file: name one that can be replaced", flag, path)
		}
	}
	dir := filepath.Dir(path)
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return nil, fmt.Errorf("%s: %s: there is no directory %s: make it first", flag, path, dir)
	}
	o := &output{flag: flag, path: path, mode: mode}
	var err error
	if o.file, err = os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp"); err != nil {
		return nil, o.wrap(err)
	}
	return o, nil
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if err != nil {
		err = o.wrap(err)
		if o.failed == nil {
			o.failed = err
		}
	}
	return n, err
}

// wrap names the file that was asked for, not the temporary one.
func (o *output) wrap(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	dir, remedy := filepath.Dir(o.path), "name a file elsewhere"
	switch {
	case errors.Is(err, fs.ErrPermission):
		remedy = "name a file where you may write"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "make room there, or name a file elsewhere"
	}
	return fmt.Errorf("%s: %s: cannot write in %s: %w: %s", o.flag, o.path, dir, err, remedy)
}

// finish puts all of the file on disk.
func (o *output) finish() error {
	// Whatever the umask was.
	if err := o.file.Chmod(o.mode); err != nil {
		return o.wrap(err)
	}
	if err := o.file.Sync(); err != nil {
		return o.wrap(err)
	}
	if err := o.file.Close(); err != nil {
		return o.wrap(err)
	}
	return nil
}

// commit puts a finished file in its place.
func (o *output) commit() error {
	if err := os.Rename(o.file.Name(), o.path); err != nil {
		if le := (*os.LinkError)(nil); errors.As(err, &le) {
			err = le.Err
		}
		return o.wrap(err)
	}
	o.committed = true
	// The rename itself is on disk with the directory. Not every file system
	// can do that, and the image is whole either way.
	if dir, err := os.Open(filepath.Dir(o.path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// abort removes the temporary file. After commit it does nothing.
func (o *output) abort() {
	if o.committed {
		return
	}
	_ = o.file.Close()
	_ = os.Remove(o.file.Name())
}
