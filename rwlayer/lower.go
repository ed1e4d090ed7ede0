package rwlayer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/printable"
)

// lowerAttr is the extended attribute of the upper directory that says on which
// tree it was begun. Not a file beside it: so a new upper directory and what it
// says take the place of the old ones in one step, and an archived one keeps its own.
const lowerAttr = "trusted.sidusboot.lower"

const (
	lowerHead = "sidusboot upper 1"
	// resetPrefix begins the names of upper directories that are being deleted.
	resetPrefix = ".sidusboot-reset-"
	// maxAside is how many names are tried for one that is moved aside.
	maxAside = 100
)

// A MismatchPolicy says what happens to an upper directory that was made over
// another tree than this boot's.
type MismatchPolicy string

// The policies.
const (
	// MismatchKeep leaves it in use.
	MismatchKeep MismatchPolicy = "keep"
	// MismatchArchive moves it aside and begins a new one.
	MismatchArchive MismatchPolicy = "archive"
	// MismatchReset deletes it and begins a new one.
	MismatchReset MismatchPolicy = "reset"
	// MismatchStop is a *MismatchError.
	MismatchStop MismatchPolicy = "stop"
)

// LowerOptions say which tree a kept upper directory is going to lie on.
type LowerOptions struct {
	// Tree names this boot's tree. Empty: nothing is known of it, and nothing
	// compared.
	Tree string
	// Policy is for an upper directory that was begun on another tree.
	Policy MismatchPolicy
	// Reset, where it is not empty, deletes the upper directory unless that was
	// begun with the same text.
	Reset string
	// Now is for the name of an archived one.
	Now time.Time
	// Waiting, which may be nil, is told what is being waited for.
	Waiting func(what string)
}

// A LowerMatch says what MatchLower has found and done.
type LowerMatch struct {
	// Tree is the one on which the upper directory was begun that was found. It is
	// empty where there was none, or an empty one, or where that is not known.
	Tree string
	// Mismatch says that it is another one than this boot's.
	Mismatch bool
	// Archived is the name in /rw that the upper directory has been given.
	Archived string
	// Reset says that it has been deleted, or is being deleted.
	Reset bool
}

// A MismatchError says that the upper directory was begun on another tree, with
// MismatchStop.
type MismatchError struct{ Made, Now string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the upper layer of this node's volume was made over the tree %s, but this boot's tree is %s: boot the node from %[1]s, or choose what happens to the layer", e.Made, e.Now)
}

// A record is what an upper directory says of itself.
type record struct{ tree, reset string }

func (r record) String() string { return lowerHead + "\n" + r.tree + "\n" + r.reset + "\n" }

func parseRecord(text string) record {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] != lowerHead {
		return record{}
	}
	return record{tree: printable.Text(lines[1]), reset: lines[2]}
}

// MatchLower compares the tree on which the upper directory in dir was begun with
// this boot's, acts by the policy, and makes a new upper directory remember its
// tree. One without a record, which an earlier program has made, is kept and
// remembers this boot's tree from now on. It must be called before the union is
// mounted.
//
// No crash loses anything: a new directory takes the old one's place in one step
// (RENAME_EXCHANGE), and the old one is deleted only after that. What a crash has
// left of such a deletion is deleted by the next call.
func MatchLower(dir string, o LowerOptions) (m LowerMatch, err error) {
	upper := filepath.Join(dir, Upper)
	// An error of that says that space is missing, no more.
	leftovers := o.deleteReset(dir)
	defer func() { err = errors.Join(err, leftovers) }()
	old, err := readRecord(upper)
	if err != nil {
		return m, err
	}
	next := record{o.Tree, o.Reset}
	if next.reset == "" {
		next.reset = old.reset // The same text again is no new order.
	}
	empty, err := isEmpty(upper)
	switch {
	case err != nil:
		return m, fmt.Errorf("rwlayer: %w", err)
	case empty:
		return m, writeRecord(upper, old, next)
	}
	m.Tree = old.tree
	m.Mismatch = old.tree != "" && o.Tree != "" && old.tree != o.Tree
	switch {
	case o.Reset != "" && o.Reset != old.reset, m.Mismatch && o.Policy == MismatchReset:
		if _, err := exchangeUpper(dir, resetPrefix, next); err != nil {
			return m, fmt.Errorf("rwlayer: reset the upper layer: %w", err)
		}
		m.Reset = true
		return m, o.deleteReset(dir)
	case m.Mismatch && o.Policy == MismatchArchive:
		prefix := Upper + "-" + fileName(old.tree) + "-" + o.Now.UTC().Format("20060102-150405")
		if m.Archived, err = exchangeUpper(dir, prefix, next); err != nil {
			return m, fmt.Errorf("rwlayer: archive the upper layer: %w", err)
		}
		return m, nil
	case m.Mismatch && o.Policy == MismatchStop:
		return m, fmt.Errorf("rwlayer: %w", &MismatchError{Made: old.tree, Now: o.Tree})
	case m.Mismatch:
		return m, nil // It still says on which tree it was begun.
	}
	if next.tree == "" {
		next.tree = old.tree
	}
	return m, writeRecord(upper, old, next)
}

func readRecord(upper string) (record, error) {
	b := make([]byte, maxOwner)
	n, err := unix.Lgetxattr(upper, lowerAttr, b)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ERANGE):
		return record{}, nil
	case err != nil:
		return record{}, fmt.Errorf("rwlayer: read the tree of the upper layer: %w", err)
	}
	return parseRecord(string(b[:n])), nil
}

// writeRecord changes what an upper directory says of itself.
func writeRecord(upper string, old, next record) error {
	if old == next {
		return nil
	}
	if err := unix.Lsetxattr(upper, lowerAttr, []byte(next.String()), 0); err != nil {
		return fmt.Errorf("rwlayer: save the tree of the upper layer: %w", err)
	}
	return nil
}

// exchangeUpper makes a new upper directory with that record, and gives the old
// one a name that begins with prefix, in one step. It returns that name.
func exchangeUpper(dir, prefix string, r record) (aside string, err error) {
	aside, err = makeAside(dir, prefix)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, aside)
	if err = writeRecord(path, record{}, r); err == nil {
		err = os.Chmod(path, 0o755)
	}
	if err == nil {
		err = syncDir(path) // Before it is the upper one.
	}
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, Upper), unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return aside, syncDir(dir)
}

// makeAside makes an empty directory with a name that begins with prefix.
func makeAside(dir, prefix string) (name string, err error) {
	for i := range maxAside {
		name = prefix
		if i > 0 || strings.HasSuffix(prefix, "-") {
			name = strings.TrimSuffix(prefix, "-") + "-" + strconv.Itoa(i+1)
		}
		if err = os.Mkdir(filepath.Join(dir, name), 0o755); !errors.Is(err, os.ErrExist) {
			break
		}
	}
	return name, err
}

// deleteReset deletes upper directories that were reset.
func (o LowerOptions) deleteReset(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("rwlayer: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), resetPrefix) {
			continue
		}
		if o.Waiting != nil {
			o.Waiting("the old upper layer of the volume to be deleted")
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("rwlayer: delete the old upper layer: %w", err)
		}
	}
	return nil
}

func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// fileName is a text as a part of a file's name.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r <= ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, s)
}
