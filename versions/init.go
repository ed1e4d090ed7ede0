package versions

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// Init makes a base at path, which may be an empty directory or not exist, and
// copies the tree from into its staging unless it is empty. A base that is
// there already is left as it is, but for a staging that is missing.
func Init(ctx context.Context, path, from string, progress func(Stats)) error {
	return initialize(ctx, path, from, progress, &disk{})
}

func initialize(ctx context.Context, path, from string, progress func(Stats), d *disk) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(dir)
	if err := checkNewBase(dir, path); err != nil {
		return err
	}
	for _, name := range []string{layout.Dir, notesDir} {
		if err := d.mkdir(dir, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if name == layout.Dir {
			if err := unix.Fchmodat(dir, name, 0o755, 0); err != nil {
				return &fs.PathError{Op: "chmod", Path: name, Err: err}
			}
		}
	}
	b, err := open(path, d)
	if err != nil {
		return err
	}
	defer b.Close()
	return b.change(func() error { return b.makeStaging(ctx, from, progress) })
}

// checkNewBase refuses a directory with something else in it.
func checkNewBase(dir int, path string) error {
	all, err := names(dir)
	if err != nil {
		return err
	}
	for _, name := range all {
		switch {
		case name == layout.Dir, name == layout.Staging, name == layout.Current, name == notesDir, name == "lost+found",
			strings.HasPrefix(name, newPrefix), strings.HasPrefix(name, linkPrefix):
		default:
			return &LayoutError{path, "has " + name + " in it", "a base begins empty: give another directory"}
		}
	}
	return nil
}

func (b *Base) makeStaging(ctx context.Context, from string, progress func(Stats)) error {
	if st, err := statAt(b.dir, layout.Staging); err == nil {
		if !isType(st, unix.S_IFDIR) {
			return &LayoutError{filepath.Join(b.path, layout.Staging), "is " + typeName(st), "it must be a directory: move it away"}
		}
		if from != "" {
			return &LayoutError{filepath.Join(b.path, layout.Staging), "already exists", "remove it first, or copy no tree into it"}
		}
		return nil
	}
	temporary := newPrefix + layout.Staging
	if from == "" {
		if err := b.disk.mkdir(b.dir, temporary); err != nil {
			return err
		}
		if err := unix.Fchmodat(b.dir, temporary, 0o755, 0); err != nil {
			return err
		}
	} else {
		src, err := unix.Open(from, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &fs.PathError{Op: "open", Path: from, Err: err}
		}
		defer unix.Close(src)
		if _, err := b.copyTree(ctx, src, from, b.dir, temporary, -1, progress); err != nil {
			return errors.Join(err, b.disk.removeAll(b.dir, temporary))
		}
		if err := b.disk.syncAll(b.dir, b.path); err != nil {
			return err
		}
	}
	if err := b.disk.renameNew(b.dir, temporary, layout.Staging); err != nil {
		return err
	}
	return b.disk.sync(b.dir, b.path)
}
