package versions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// A Base is an opened base. One goroutine uses it at a time.
type Base struct {
	path string
	dir  int // the base
	all  int // its versions
	note int // its notes
	disk *disk
}

// A LayoutError is a base in which something is not as it must be.
type LayoutError struct {
	// Path is what is wrong.
	Path string
	// Problem says what it is.
	Problem string
	// Remedy says what to do.
	Remedy string
}

func (e *LayoutError) Error() string { return e.Path + " " + e.Problem + ": " + e.Remedy }

// A NotFoundError is an ID that no version has.
type NotFoundError struct {
	Base, ID string
	// Have are those that are there, newest first.
	Have []string
}

func (e *NotFoundError) Error() string {
	have := "there is none yet"
	if len(e.Have) > 0 {
		have = "there are " + strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("%s has no version %s: %s", e.Base, e.ID, have)
}

// A BusyError says that another program changes the base.
type BusyError struct{ Base string }

func (e *BusyError) Error() string {
	return e.Base + ": another sidustree changes it: try again when that one has ended"
}

// Open opens a base that Init has made. The error is a *LayoutError where path
// is something else.
func Open(path string) (*Base, error) { return open(path, &disk{}) }

func open(path string, d *disk) (*Base, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	b := &Base{path: abs, dir: -1, all: -1, note: -1, disk: d}
	if b.dir, err = unix.Open(abs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, &fs.PathError{Op: "open", Path: abs, Err: err}
	}
	for _, sub := range []struct {
		name string
		fd   *int
	}{{layout.Dir, &b.all}, {notesDir, &b.note}} {
		if *sub.fd, err = openDir(b.dir, sub.name); err != nil {
			b.Close()
			if errors.Is(err, fs.ErrNotExist) {
				return nil, &LayoutError{abs, "is no base: it has no " + sub.name, "make one with sidustree init " + abs}
			}
			return nil, notDirectory(filepath.Join(abs, sub.name), err, "put a directory of this file system there")
		}
		st, err := statAt(b.dir, sub.name)
		if err == nil {
			err = b.sameFileSystem(sub.name, st)
		}
		if err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// notDirectory is the error for a path that openDir could not open: a
// *LayoutError only where something else is there.
func notDirectory(path string, err error, remedy string) error {
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return &LayoutError{path, "is no directory", remedy}
	case errors.Is(err, fs.ErrPermission):
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w: a base is root's: run sidustree as root", fs.ErrPermission)}
	}
	return err
}

// sameFileSystem makes sure that a rename(2) is possible.
func (b *Base) sameFileSystem(name string, st unix.Stat_t) error {
	var own unix.Stat_t
	if err := unix.Fstat(b.dir, &own); err != nil {
		return err
	}
	if st.Dev != own.Dev {
		return &LayoutError{filepath.Join(b.path, name), "is on another file system than the base", "keep the whole base on one"}
	}
	return nil
}

// Close gives the base's descriptors back.
func (b *Base) Close() {
	for _, fd := range []int{b.dir, b.all, b.note} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// Path is where the base is.
func (b *Base) Path() string { return b.path }

// change takes the base's lock, removes what ended programs have left, and runs
// f. The error is a *BusyError where another program has the lock.
func (b *Base) change(f func() error) error {
	fd, err := unix.Openat(b.note, "lock", unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "open", Path: filepath.Join(b.path, notesDir, "lock"), Err: err}
	}
	// The lock is given back by name: a program that another thread is starting has
	// a copy of the descriptor until it runs.
	defer func() {
		_ = unix.Flock(fd, unix.LOCK_UN)
		_ = unix.Close(fd)
	}()
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return &BusyError{b.path}
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", b.path, err)
	}
	if err := b.tidy(); err != nil {
		return fmt.Errorf("remove what an earlier run left in %s: %w", b.path, err)
	}
	return f()
}

// tidy removes what has the name of something unfinished.
func (b *Base) tidy() error {
	for _, place := range []struct {
		dir      int
		prefixes []string
	}{{b.dir, []string{newPrefix, linkPrefix}}, {b.all, []string{newPrefix, gonePrefix}}, {b.note, []string{newPrefix}}} {
		all, err := names(place.dir)
		if err != nil {
			return err
		}
		for _, name := range all {
			if slices.ContainsFunc(place.prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
				if err := b.disk.removeAll(place.dir, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

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
		return "", fmt.Errorf("%s: %w: mend it with sidustree rollback ID", b.path, err)
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

// A Note is what is written down about a version when it is published.
type Note struct {
	ID string `json:"id"`
	// Published is when.
	Published time.Time `json:"published"`
	// Previous is what was current before.
	Previous string `json:"previous,omitempty"`
	// Stats are what it took.
	Stats Stats `json:"stats"`
}

func (b *Base) writeNote(n Note) error {
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	temporary := newPrefix + n.ID + ".json"
	f, err := b.disk.create(b.note, temporary)
	if err != nil {
		return err
	}
	defer f.Close()
	err = b.disk.do("write", n.ID+".json", func() error {
		_, err := f.Write(append(text, '\n'))
		return errors.Join(err, f.Chmod(0o644), f.Sync())
	})
	if err != nil {
		return err
	}
	return b.disk.rename(b.note, temporary, n.ID+".json")
}

// noteFile reads one of the notes.
func (b *Base) noteFile(name string) ([]byte, error) {
	return tree.At(filepath.Join(b.path, notesDir)).ReadFile(name)
}

// note returns what is known of a version. A version without a note, made by
// hand, has the time of its directory.
func (b *Base) readNote(id string) (Note, error) {
	text, err := b.noteFile(id + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		st, err := statAt(b.all, id)
		return Note{ID: id, Published: time.Unix(st.Ctim.Unix())}, err
	}
	if err != nil {
		return Note{}, err
	}
	n := Note{}
	if err := json.Unmarshal(text, &n); err != nil {
		return n, fmt.Errorf("the note about version %s: %w: remove %s", id, err, filepath.Join(b.path, notesDir, id+".json"))
	}
	n.ID = id
	return n, nil
}

// notes are those of all versions, newest first.
func (b *Base) notes() ([]Note, error) {
	all, err := names(b.all)
	if err != nil {
		return nil, err
	}
	var notes []Note
	for _, id := range all {
		if st, err := statAt(b.all, id); err != nil || layout.CheckID(id) != nil || !isType(st, unix.S_IFDIR) {
			continue
		}
		n, err := b.readNote(id)
		if err != nil {
			return nil, err
		}
		notes = append(notes, n)
	}
	slices.SortStableFunc(notes, func(x, y Note) int {
		if c := y.Published.Compare(x.Published); c != 0 {
			return c
		}
		return strings.Compare(y.ID, x.ID)
	})
	return notes, nil
}

// IDs are those of all versions, newest first.
func (b *Base) IDs() ([]string, error) {
	notes, err := b.notes()
	ids := make([]string, len(notes))
	for i, n := range notes {
		ids[i] = n.ID
	}
	return ids, err
}

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
			return &LayoutError{path, "has " + name + " in it", "a base begins empty: name another directory"}
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
			return &LayoutError{filepath.Join(b.path, layout.Staging), "is there already", "remove it first, or leave --from out"}
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

func sorted(s []string) []string { slices.Sort(s); return s }
