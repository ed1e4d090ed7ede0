package versions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

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
