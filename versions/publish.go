package versions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// PublishOptions say how staging becomes a version.
type PublishOptions struct {
	// ID of the new version; empty: made of Now.
	ID string
	// Now is the time of the publication.
	Now time.Time
	// Mounts, which may be nil, are what clients have mounted now: what they mount
	// afterwards is newer (GCOptions.NewestMount).
	Mounts []Mount
	// Check, which may be nil, looks at the tree before anything is done, and
	// refuses it by an error.
	Check func(tree string) error
	// Progress, which may be nil, is told now and then how far it is.
	Progress func(Stats)
}

// An ExistsError is an ID that a version has already.
type ExistsError struct{ Base, ID string }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("%s already has a version %s: choose another ID", e.Base, e.ID)
}

// Publish makes a version of staging and makes it current. Staging stays as it
// is and shares no inode with the version. When it fails, or is ended at any
// moment, current is what it was before, or the new version, whole.
//
// Files that did not change since the current version are hard links to it. The
// others are clones of staging's where the file system can do that, else copies.
func (b *Base) Publish(ctx context.Context, o PublishOptions) (Note, error) {
	var note Note
	err := b.change(func() (err error) {
		note, err = b.publish(ctx, o)
		return err
	})
	return note, err
}

func (b *Base) publish(ctx context.Context, o PublishOptions) (Note, error) {
	previous, err := b.Current()
	if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
		err = nil // Its version was removed by hand: this publication repairs it.
	}
	if err != nil {
		return Note{}, err
	}
	id, err := b.newID(o)
	if err != nil {
		return Note{}, err
	}
	staging := filepath.Join(b.path, layout.Staging)
	src, err := openDir(b.dir, layout.Staging)
	if errors.Is(err, fs.ErrNotExist) {
		return Note{}, &LayoutError{staging, "does not exist", "put the tree to be published there"}
	}
	if err != nil {
		return Note{}, notDirectory(staging, err, "put the tree to be published there")
	}
	defer unix.Close(src)
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return Note{}, err
	}
	if err := b.sameFileSystem(layout.Staging, st); err != nil {
		return Note{}, err
	}
	if o.Check != nil {
		if err := o.Check(staging); err != nil {
			return Note{}, fmt.Errorf("%s cannot be published: %w", staging, err)
		}
	}
	prev := -1
	if previous != "" {
		if prev, err = openDir(b.all, previous); err != nil {
			return Note{}, err
		}
		defer unix.Close(prev)
	}
	note := Note{ID: id, Published: o.Now.UTC().Round(0), Previous: previous}
	temporary := newPrefix + id
	err = func() (err error) {
		if note.Stats, err = b.copyTree(ctx, src, staging, b.all, temporary, prev, o.Progress); err != nil {
			return err
		}
		if err := errors.Join(b.writeNote(note), b.noteMounts(o.Mounts)); err != nil {
			return err
		}
		// Everything of it, before it has a name that a node could boot.
		if err := b.disk.syncAll(b.dir, b.path); err != nil {
			return err
		}
		return b.disk.renameNew(b.all, temporary, id)
	}()
	if err != nil {
		return Note{}, errors.Join(fmt.Errorf("publish %s: %w", id, err), b.disk.removeAll(b.all, temporary), b.forget(id))
	}
	if err := b.disk.sync(b.all, layout.Dir); err != nil {
		return note, fmt.Errorf("version %s was made, but is not current: %w", id, err)
	}
	if err := b.point(id); err != nil {
		return note, fmt.Errorf("version %s was made, but is not current: %w: make it current with sidustree rollback %s", id, err, id)
	}
	return note, nil
}

// forget removes the note about a version.
func (b *Base) forget(id string) error {
	err := b.disk.unlink(b.note, id+".json", 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// newID is the ID of the version to publish, which no version has.
func (b *Base) newID(o PublishOptions) (string, error) {
	if o.ID != "" {
		err := b.exists(o.ID)
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			return o.ID, nil
		}
		if err == nil {
			err = &ExistsError{b.path, o.ID}
		}
		return "", err
	}
	base := o.Now.UTC().Format("20060102-150405")
	id := base
	for n := 2; ; n++ {
		if _, err := statAt(b.all, id); errors.Is(err, fs.ErrNotExist) {
			return id, nil
		} else if err != nil {
			return "", err
		}
		id = fmt.Sprintf("%s-%d", base, n)
	}
}

// Rollback makes another version current: id, or, where that is empty, the one
// that was current when the present one was published. It returns both.
func (b *Base) Rollback(id string) (from, to string, err error) {
	err = b.change(func() error {
		if err := b.canPoint(); err != nil {
			return err
		}
		from, _ = b.Current() // It may be damaged.
		to = id
		if to == "" {
			if to, err = b.before(from); err != nil {
				return err
			}
		}
		if err := b.exists(to); err != nil {
			return err
		}
		if from == to {
			return nil
		}
		return b.point(to)
	})
	return from, to, err
}

// before is the version that came before another one.
func (b *Base) before(id string) (string, error) {
	if id == "" {
		return "", fmt.Errorf("%s has no current version to go back from: give the ID of a version", b.path)
	}
	note, err := b.readNote(id)
	if err != nil {
		return "", err
	}
	if note.Previous != "" && b.exists(note.Previous) == nil {
		return note.Previous, nil
	}
	all, err := b.IDs()
	if err != nil {
		return "", err
	}
	for i, other := range all {
		if other == id && i+1 < len(all) {
			return all[i+1], nil
		}
	}
	return "", fmt.Errorf("%s has no version older than %s: give the ID of a version", b.path, id)
}
