package qemutests

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strings"
)

//go:embed mksmall
var mksmall string

// A SmallTree is a tree that is just enough for a probe, of any suite that Debian's
// archive has.
type SmallTree struct {
	Suite string
	// Unmerged says that /bin, /lib and /sbin are no links to those in /usr.
	Unmerged bool
	// Packages are installed besides.
	Packages []string
	// Script is run by sh in the tree when they are.
	Script string
}

// Tree returns the tree, made by mksmall if the cache has none. It is shared and must
// not be written to.
func (s SmallTree) Tree(ctx context.Context) (string, error) {
	base, err := Tree(ctx, "bookworm")
	if err != nil {
		return "", err
	}
	usr := "merged"
	if s.Unmerged {
		usr = "unmerged"
	}
	name := s.Suite + "-" + digest(base, mksmall, usr, s.Script, strings.Join(s.Packages, " "))
	return cached(ctx, "small", name, func(dir string, held *os.File) error {
		args := []string{s.Suite, usr, dir, filepath.Join(base, AgentInit), s.Script}
		return runScript(ctx, held, mksmall, append(args, s.Packages...)...)
	})
}
