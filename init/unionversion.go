package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// versionAtFault tells whether a union failed because of the version of NFS by which
// the tree is mounted, and not because of /rw. That is so if the error is one that
// no local file system has, if /rw is a tmpfs with free space, or if a union with
// an empty tmpfs fails as well. That the same union works the second time proves
// nothing: kernel 7.3 over nfs-ganesha's 4.1 fails at the first open of a directory.
func (n *node) versionAtFault(kind overlay.Kind, why error) bool {
	for _, errno := range [...]error{unix.EREMOTEIO, unix.EREMOTE, unix.ESTALE, unix.EPROTO, unix.EOPNOTSUPP, unix.ETIMEDOUT} {
		if errors.Is(why, errno) {
			return true
		}
	}
	if n.report.RW.Kind == "tmpfs" {
		return !errors.Is(why, unix.ENOSPC) && !errors.Is(why, unix.ENOMEM)
	}
	return n.trialFails(kind)
}

// trialFails tells whether a union with an empty tmpfs fails.
func (n *node) trialFails(kind overlay.Kind) bool {
	defer func() {
		if err := mounts.Detach(checkDir); err != nil {
			n.log.Errorf("%v", err)
		}
	}()
	if err := rwlayer.Tmpfs(n.system.Mount, checkDir, rwlayer.Options{Size: "16m"}); err != nil {
		return false
	}
	const trial = checkDir + "/union"
	if err := os.Mkdir(trial, 0o755); err != nil {
		return false
	}
	layers := overlay.Layers{
		Lower: roDir, Upper: checkDir + "/" + rwlayer.Upper, Work: checkDir + "/" + rwlayer.Work,
		XIno: checkDir + "/.aufs.xino", Source: checkDir,
	}
	if err := overlay.Mount(n.system, kind, layers, trial, n.checkUnion(overlay.CheckWrite)); err != nil {
		return true
	}
	return n.system.Unmount(trial) != nil
}

// A versionError says that the union failed with one version of NFS, and mounting
// the tree with the ones after it. The root is not mounted any more.
type versionError struct{ union, next error }

func (e *versionError) Error() string {
	return e.union.Error() + "; by the other versions of NFS: " + e.next.Error()
}

func (e *versionError) Unwrap() []error { return []error{e.union, e.next} }

// nextVersion mounts the root by the next version of NFS if the present one is the
// cause for which the union failed.
func (n *node) nextVersion(kind overlay.Kind, why error) (again bool, err error) {
	if !n.versionAtFault(kind, why) {
		if n.report.RW.Kind == "tmpfs" {
			return false, nil
		}
		return false, fmt.Errorf("%w: a union with an empty layer works: the cause is in the directory %s of this node's volume", why, rwlayer.Upper)
	}
	if err := mounts.Detach(unionDir); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout)
	defer cancel()
	root := n.report.Root
	n.waitFor("the NFS server " + n.source.Addr.String())
	version, err := n.nfs.NextVersion(ctx, n.source.Source, root.Version, roDir, why)
	if errors.Is(err, nfs.ErrNoOtherVersion) {
		return false, nil
	}
	if err == nil {
		err = n.inspectRoot(version)
	}
	if err != nil {
		return false, &versionError{why, err}
	}
	n.log.Noticef("nfs: %s with version %s", n.source, version)
	return true, nil
}

// checkUnion returns a test of a union: that it shows the tree, and that checkWrite
// succeeds.
func (n *node) checkUnion(checkWrite func(dir string) error) func(dir string) error {
	return func(dir string) error {
		if err := overlay.CheckTree(tree.At(roDir), tree.At(dir), n.cfg.Init); err != nil {
			return err
		}
		return checkWrite(dir)
	}
}
