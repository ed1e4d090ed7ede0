package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// An output is a file that appears under its name whole or not at all.
type output struct {
	*os.File
	path      string
	committed bool
}

// createOutput opens a temporary file beside path. Whoever calls it calls abort
// in the end, after commit too.
func createOutput(path string) (*output, error) {
	// A link stays a link: what it leads to is replaced.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if fi, err := os.Stat(path); err == nil {
		if fi.IsDir() {
			return nil, fmt.Errorf("%s is a directory: name a file in it", path)
		}
		if !fi.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file: name one that can be replaced", path)
		}
	}
	dir := filepath.Dir(path)
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return nil, fmt.Errorf("%s: there is no directory %s: make it first", path, dir)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("%s: cannot create a file in %s: %w", path, dir, err)
	}
	return &output{File: f, path: path}, nil
}

// commit puts the file in its place, on disk.
func (o *output) commit() error {
	// A boot server reads it as another user, whatever the umask was.
	if err := o.Chmod(0o644); err != nil {
		return err
	}
	if err := o.Sync(); err != nil {
		return err
	}
	if err := o.Close(); err != nil {
		return err
	}
	if err := os.Rename(o.Name(), o.path); err != nil {
		return err
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
	_ = o.Close()
	_ = os.Remove(o.Name())
}
