package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// A baseError says that a directory is no tree but holds versions of one, as
// sidustree publishes them. It is an fs.ErrNotExist: what is missing in it, an
// init program, is missing in every version of NFS.
type baseError struct {
	// current is what the link leads to, empty where there is none.
	current string
	ids     []string
}

func (e *baseError) Error() string {
	return "it holds versions of a tree, not a tree"
}

func (e *baseError) Unwrap() error { return fs.ErrNotExist }

// lookForBase returns a *baseError for a directory that holds versions of a
// tree, and nil for another one.
func lookForBase(root string) error {
	entries, err := os.ReadDir(filepath.Join(root, layout.Dir))
	if err != nil {
		return nil
	}
	e := &baseError{}
	for _, entry := range entries {
		if entry.IsDir() && layout.CheckID(entry.Name()) == nil {
			e.ids = append(e.ids, entry.Name())
		}
	}
	slices.Sort(e.ids)
	e.current, err = tree.At(root).Readlink("/" + layout.Current)
	if err != nil && len(e.ids) == 0 && !tree.At(root).IsDir("/"+layout.Staging) {
		return nil // A directory that has such a name by chance.
	}
	return e
}

// pick is the ID of the version to boot: the one that is wanted, or the current
// one.
func (e *baseError) pick(wanted string) (string, error) {
	id := wanted
	if id == "" {
		if e.current == "" {
			return "", errors.New("nothing has been published there: run sidustree publish on the server")
		}
		var err error
		if id, err = layout.ParseCurrent(e.current); err != nil {
			return "", fmt.Errorf("%w: run sidustree rollback on the server", err)
		}
	}
	if !slices.Contains(e.ids, id) {
		have := "there is none"
		if len(e.ids) > 0 {
			have = "there are " + strings.Join(e.ids, ", ")
		}
		return "", fmt.Errorf("there is no version %s: %s", id, have)
	}
	return id, nil
}

// A version cannot change, so nothing about its files is asked twice.
var unchanging = []string{"nocto", "actimeo=86400"}

// mountVersion mounts a version of the base at n.source, which is not mounted
// any more, and makes it n.source.
func (n *node) mountVersion(ctx context.Context, base *baseError) (string, error) {
	id, err := base.pick(n.cfg.TreeVersion)
	if err != nil {
		return "", fmt.Errorf("nfs: %s: %w", n.source, err)
	}
	n.treeVersion = id
	n.source.Path = path.Join(n.source.Path, layout.Dir, id)
	n.source.Options = slices.Concat(unchanging, n.source.Options)
	return n.nfs.Mount(ctx, n.source, roDir)
}

// errNoBase is a version that was asked for of a tree that has none.
var errNoBase = errors.New("it is a tree without versions: leave sidus.version= out, or name a base that sidustree made")

// mountSource mounts n.source on /ro, or, where that is a base, a version of it.
func (n *node) mountSource(ctx context.Context) (string, error) {
	version, err := n.nfs.Mount(ctx, n.source, roDir)
	var base *baseError
	switch {
	case errors.As(err, &base):
		return n.mountVersion(ctx, base)
	case err != nil:
		return "", err
	case n.cfg.TreeVersion != "":
		return "", &nfs.MountError{Source: n.source, Version: version, Err: errNoBase}
	}
	return version, nil
}
