package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// Verify tries in dir what a boot needs of a tree whose init program is the wanted
// one, see tree.Tree.FindInit. For a base of versions the error is a
// *layout.BaseError.
func Verify(dir, wantedInit string) error {
	err := tree.At(dir).Check(wantedInit)
	var owner *tree.OwnerError
	if errors.As(err, &owner) {
		return fmt.Errorf("%w: %w", err, nfs.ErrOwner)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if base := findBase(dir); base != nil {
			return base
		}
	}
	return err
}

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

// InBase is a version of the tree in a base.
func InBase(base nfs.Source, id string) nfs.Source {
	base.Path = path.Join(base.Path, layout.Dir, id)
	base.Options = slices.Concat(versionOptions, base.Options)
	return base
}

// ErrNoVersions is for a version that is wanted of a plain tree.
var ErrNoVersions = errors.New("the tree has no versions: use a base that sidustree made as the source, or ask for no version")

// mountSource mounts a source. If that is a base, it mounts a version of it, and the
// base itself is not mounted any more. The root's source is that which was tried
// last.
func (m *Mounter) mountSource(ctx context.Context, s Source) (Root, error) {
	root := Root{Source: s}
	version, err := m.NFS.Mount(ctx, s.Source, m.Dir)
	var base *layout.BaseError
	switch {
	case errors.As(err, &base):
		id, err := base.Pick(m.Version)
		if err != nil {
			return root, fmt.Errorf("nfs: %s: %w", s, err)
		}
		root.Version, root.Base = id, s.Source
		root.Source.Source = InBase(s.Source, id)
		root.NFS, err = m.NFS.Mount(ctx, root.Source.Source, m.Dir)
		return root, err
	case err == nil && m.Version != "":
		err = &nfs.MountError{Source: s.Source, Version: version, Err: ErrNoVersions}
	}
	root.NFS = version
	return root, err
}
