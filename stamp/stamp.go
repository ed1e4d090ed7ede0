// Package stamp is for a tree that is changed in place, below running nodes: it
// renews the stamp by which nodes learn that the tree has changed, and installs a
// hook in the tree that does so after each run of apt or dpkg, and sets the files
// that will be replaced aside before.
//
// It writes beneath the tree's root directory only. The names are those of
// versions/layout.
package stamp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// A TreeError is a directory that is no tree to be changed in place.
type TreeError struct {
	Path    string
	Problem string
	Remedy  string
}

func (e *TreeError) Error() string { return e.Path + " " + e.Problem + ": " + e.Remedy }

// A Tree is the root directory of a tree that is changed in place.
type Tree struct {
	dir  string // absolute and without links
	tree tree.Tree
}

// Open looks at a directory. The error is a *TreeError where it is none of a tree
// that may be changed.
func Open(dir string) (Tree, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Tree{}, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return Tree{}, err
	}
	t := Tree{abs, tree.At(abs)}
	info, err := os.Stat(abs)
	if err != nil {
		return Tree{}, err
	}
	switch base := filepath.Dir(filepath.Dir(abs)); {
	case !info.IsDir():
		return Tree{}, &TreeError{abs, "is not a directory", "give the root directory of a tree"}
	case abs == "/":
		return Tree{}, &TreeError{abs, "is this machine's own root", "give the root directory of the nodes' tree"}
	case isBase(abs):
		return Tree{}, &TreeError{abs, "is a base, not a tree", "its versions do not change; publish a new one"}
	case filepath.Base(filepath.Dir(abs)) == layout.Dir && isBase(base):
		return Tree{}, &TreeError{abs, "is a published version, which must not change", "change " + filepath.Join(base, layout.Staging) + " and publish it"}
	case !t.tree.IsDir("/etc"):
		return Tree{}, &TreeError{abs, "has no etc", "give the root directory of a tree"}
	}
	return t, nil
}

func isBase(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, layout.Notes))
	return err == nil && info.IsDir()
}

// Path is where the tree is.
func (t Tree) Path() string { return t.dir }

// Renew gives the stamp a new text, whole or not at all, and returns it. It is on
// the disk then.
func (t Tree) Renew(now time.Time) (string, error) {
	var old string
	b, err := t.tree.ReadFile(layout.Stamp)
	var kind *tree.KindError
	var size *tree.SizeError
	switch {
	case err == nil:
		old = string(b)
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &kind) && !kind.Mode.IsDir(), errors.As(err, &size):
		// Replaced.
	default:
		return "", err
	}
	text := next(old, now, os.Getpid())
	if err := t.tree.Replace(layout.Stamp, []byte(text+"\n")); err != nil {
		return "", err
	}
	return text, t.sync(path.Dir(layout.Stamp))
}

// next is the text that follows another one, in one line without its end.
func next(old string, now time.Time, pid int) string {
	count := uint64(0)
	if fields := strings.Fields(old); len(fields) > 1 {
		count, _ = strconv.ParseUint(fields[1], 10, 32) // At its limit it stays; time and PID differ.
	}
	return fmt.Sprintf("%s %d %d", now.UTC().Format(time.RFC3339), count+1, pid)
}

// sync puts a directory's names on the disk.
func (t Tree) sync(name string) error {
	inside, err := t.tree.Resolve(name)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(t.dir, inside)) // It has no links any more.
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// setName begins the name of a set of files that were set aside together. The end
// of their time in UTC follows, and the number of the process that made it.
const (
	setName = "until-"
	setTime = "20060102-150405"
)

// A Set is what one run has set aside.
type Set struct {
	// Name is that of its directory in Aside.
	Name string `json:"name"`
	// Until is when it may be removed.
	Until time.Time `json:"until"`
}

// Sets are those that are there, in the order of their ends. The error is a
// *TreeError where something else has the place of the directory.
func (t Tree) Sets() ([]Set, error) {
	info, err := os.Lstat(t.aside())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &TreeError{t.aside(), "is not a directory", "remove it"}
	}
	entries, err := os.ReadDir(t.aside())
	if err != nil {
		return nil, err
	}
	var all []Set
	for _, e := range entries {
		if until, ok := setEnd(e.Name()); ok && e.IsDir() {
			all = append(all, Set{e.Name(), until})
		}
	}
	return all, nil
}

func (t Tree) aside() string { return filepath.Join(t.dir, layout.Aside) }

// setEnd is the end in a set's name.
func setEnd(name string) (time.Time, bool) {
	rest, ok := strings.CutPrefix(name, setName)
	i := strings.LastIndexByte(rest, '-')
	if !ok || i < 0 {
		return time.Time{}, false
	}
	until, err := time.Parse(setTime, rest[:i])
	return until, err == nil
}

// Expire removes the sets whose time has ended, and tells which. It does not
// leave the tree's file system.
func (t Tree) Expire(now time.Time) ([]string, error) {
	sets, err := t.Sets()
	if err != nil {
		return nil, err
	}
	removed := []string{}
	for _, set := range sets {
		if set.Until.After(now) {
			continue
		}
		if err := t.removeSet(set.Name); err != nil {
			return removed, err
		}
		removed = append(removed, set.Name)
	}
	if len(removed) > 0 {
		// It stays where other sets are in it.
		if err := os.Remove(t.aside()); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
	}
	return removed, nil
}

func (t Tree) removeSet(name string) error {
	dir := filepath.Join(t.aside(), name)
	var top unix.Stat_t
	if err := unix.Lstat(dir, &top); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		if st.Dev != top.Dev {
			return &TreeError{path, "is on another file system than its tree", "unmount it"}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
