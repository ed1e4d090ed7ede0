package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// findBase returns a *layout.BaseError for a directory that holds versions of a
// tree, and nil for any other.
func findBase(root string) error {
	entries, err := os.ReadDir(filepath.Join(root, layout.Dir))
	if err != nil {
		return nil
	}
	e := &layout.BaseError{}
	for _, entry := range entries {
		if entry.IsDir() && layout.CheckID(entry.Name()) == nil {
			e.IDs = append(e.IDs, entry.Name())
		}
	}
	slices.Sort(e.IDs)
	e.Current, err = tree.At(root).Readlink("/" + layout.Current)
	if err != nil && len(e.IDs) == 0 && !tree.At(root).IsDir("/"+layout.Staging) {
		return nil // A tree that has a directory of that name.
	}
	return e
}

// versionOptions are the NFS options for a version: it never changes, so nothing
// about its files needs to be asked twice.
var versionOptions = []string{"nocto", "actimeo=86400"}

// mountVersion mounts a version of the base at n.source, and makes it n.source. The
// base itself is not mounted any more.
func (n *node) mountVersion(ctx context.Context, base *layout.BaseError) (string, error) {
	id, err := base.Pick(n.cfg.TreeVersion)
	if err != nil {
		return "", fmt.Errorf("nfs: %s: %w", n.source, err)
	}
	n.treeVersion, n.base = id, n.source.Source
	n.source.Path = path.Join(n.source.Path, layout.Dir, id)
	n.source.Options = slices.Concat(versionOptions, n.source.Options)
	return n.nfs.Mount(ctx, n.source.Source, roDir)
}

// errNoBase is for sidus.version= where the source is a plain tree.
var errNoBase = errors.New("the tree has no versions: remove sidus.version=, or set the source to a base that sidustree made")

// mountSource mounts n.source on /ro. If that is a base, it mounts a version of it.
func (n *node) mountSource(ctx context.Context) (string, error) {
	version, err := n.nfs.Mount(ctx, n.source.Source, roDir)
	var base *layout.BaseError
	switch {
	case errors.As(err, &base):
		return n.mountVersion(ctx, base)
	case err != nil:
		return "", err
	case n.cfg.TreeVersion != "":
		return "", &nfs.MountError{Source: n.source.Source, Version: version, Err: errNoBase}
	}
	return version, nil
}
