package versions

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// Current returns the ID that current leads to; empty where nothing has been
// published. The error is a *LinkError where it leads elsewhere, a
// *NotFoundError where the version is missing.
func (b *Base) Current() (string, error) {
	st, err := statAt(b.dir, layout.Current)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if !isType(st, unix.S_IFLNK) {
		return "", b.noLink(st)
	}
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(b.dir, layout.Current, target)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: filepath.Join(b.path, layout.Current), Err: err}
	}
	id, err := layout.ParseCurrent(string(target[:n]))
	if err != nil {
		return "", fmt.Errorf("%s: %w: choose a version with sidustree rollback ID", b.path, err)
	}
	if err := b.exists(id); err != nil {
		return "", err
	}
	return id, nil
}

func (b *Base) noLink(st unix.Stat_t) error {
	return &LayoutError{filepath.Join(b.path, layout.Current), "is " + typeName(st), "it must be a link: move it away, then sidustree rollback ID"}
}

// canPoint returns a *LayoutError where current is what a link cannot replace.
func (b *Base) canPoint() error {
	if st, err := statAt(b.dir, layout.Current); err == nil && isType(st, unix.S_IFDIR) {
		return b.noLink(st)
	}
	return nil
}

// exists returns a *NotFoundError for an ID without a version.
func (b *Base) exists(id string) error {
	if err := layout.CheckID(id); err != nil {
		return err
	}
	st, err := statAt(b.all, id)
	if errors.Is(err, fs.ErrNotExist) {
		have, listErr := b.IDs()
		return errors.Join(&NotFoundError{b.path, id, have}, listErr)
	}
	if err != nil {
		return err
	}
	if !isType(st, unix.S_IFDIR) {
		return &LayoutError{filepath.Join(b.path, layout.Dir, id), "is " + typeName(st), "a version is a directory: move it away"}
	}
	return nil
}

// point makes current lead to a version, in one step.
func (b *Base) point(id string) error {
	temporary := linkPrefix + id
	if err := b.disk.symlink(layout.Dir+"/"+id, b.dir, temporary); err != nil {
		return err
	}
	if err := b.disk.rename(b.dir, temporary, layout.Current); err != nil {
		return errors.Join(err, b.disk.unlink(b.dir, temporary, 0))
	}
	return b.disk.sync(b.dir, b.path)
}
