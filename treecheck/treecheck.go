// Package treecheck looks at a root tree before nodes boot from it, and says
// what will go wrong there, with a remedy for each.
//
// It reads the tree, beneath its root directory only, and the NFS server's table
// of exports.
package treecheck

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/exports"
	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// A Severity says how bad a finding is.
type Severity string

const (
	// Fatal: no node boots this tree.
	Fatal Severity = "fatal"
	// Warning: something on the nodes will not work, or is not safe.
	Warning Severity = "warning"
	// Note: something to know; sidusboot handles it.
	Note Severity = "note"
)

// A Finding is one thing about the tree, with all the places where it is so.
type Finding struct {
	// Name tells the kinds of findings apart, "file-capabilities" for example.
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Problem and Remedy are sentences.
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
	// Paths are in the tree; the first few where there are many. Count is how
	// many there are.
	Paths []string `json:"paths,omitempty"`
	Count int      `json:"count,omitempty"`
}

// maxPaths is how many places a finding names.
const maxPaths = 20

// Options are where the rest is.
type Options struct {
	// Exports tell what the kernel's NFS server exports; without a table exports are not
	// looked at.
	Exports exports.Sources
}

// A FatalError is a tree that no node can boot.
type FatalError struct{ Findings []Finding }

func (e *FatalError) Error() string {
	texts := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		texts[i] = f.Problem + ": " + f.Remedy
	}
	return strings.Join(texts, "; ")
}

// FatalFindings returns a *FatalError for what is fatal among findings, else nil.
func FatalFindings(findings []Finding) error {
	fatal := slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.Severity != Fatal })
	if len(fatal) == 0 {
		return nil
	}
	return &FatalError{fatal}
}

// A check collects findings.
type check struct {
	dir  string
	tree tree.Tree
	all  []Finding
}

// Check looks at the tree in dir. The findings come in a fixed order: what is
// fatal first. The error is for a tree that cannot be read.
func Check(ctx context.Context, dir string, o Options) ([]Finding, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory: give the root directory of a tree", dir)
	}
	dir, err := filepath.Abs(dir) // Names are cut off it.
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(filepath.Join(dir, layout.Notes)); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a base, not a tree: give %s or one of its %s", dir, filepath.Join(dir, layout.Staging), layout.Dir)
	}
	c := &check{dir: dir, tree: tree.At(dir)}
	c.init()
	c.kernels()
	c.packages()
	c.identity()
	c.fstab()
	c.resolver()
	c.logins()
	c.inPlace()
	if err := c.exports(o.Exports); err != nil {
		return nil, err
	}
	if err := c.files(ctx); err != nil {
		return nil, err
	}
	order := []Severity{Fatal, Warning, Note}
	slices.SortStableFunc(c.all, func(a, b Finding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
	return c.all, nil
}

// add notes a finding, if there is any place of it.
func (c *check) add(f Finding, paths ...string) {
	if len(paths) == 0 {
		return
	}
	f.Count = len(paths)
	f.Paths = paths[:min(len(paths), maxPaths)]
	c.all = append(c.all, f)
}

// maxPlain is how many bytes of a text from the tree a problem has in it.
const maxPlain = 255

// plain is a text of the tree's as a terminal may have it.
func plain(s string) string {
	s = s[:min(len(s), maxPlain)]
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// list are the names in a directory of the tree.
func (c *check) list(dir string) []string {
	entries, err := c.tree.ReadDir(dir)
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// glob are the paths in a directory of the tree that fit a pattern.
func (c *check) glob(pattern string) []string {
	var found []string
	dir := filepath.Dir(pattern)
	for _, name := range c.list(dir) {
		if ok, err := filepath.Match(filepath.Base(pattern), name); ok && err == nil {
			found = append(found, filepath.Join(dir, name))
		}
	}
	return found
}
