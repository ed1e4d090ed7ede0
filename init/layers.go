package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/identity"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// mountRoot finds out where the tree is and mounts it.
func (n *node) mountRoot() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout)
	defer cancel()
	n.waitFor("the address of the NFS server")
	sources, err := n.locateRoot(ctx, n.lease)
	if len(sources) == 0 {
		return "", err
	}
	if err != nil {
		n.log.Errorf("%v; using the other servers of the tree", err)
	}
	n.sources = sources
	n.setNFSIdentity()
	version, err := n.mountAny(ctx, inOrder(sources, n.cfg.SpreadRoots, nodeNumber(n.lease)))
	if err != nil {
		return "", err
	}
	if err := n.inspectRoot(version); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s with version %s, from the %s", n.source, version, n.source.origin), nil
}

// setNFSIdentity gives the node an NFSv4 identity of its own, also for what the
// tree mounts later.
func (n *node) setNFSIdentity() {
	if err := n.system.Load("nfs"); err != nil {
		return // The mount will fail with the same error.
	}
	given, err := nfs.SetIdentity("/sys", identity.UUID("nfs", n.machine()))
	if err != nil {
		n.log.Errorf("%v", err)
	}
	if given != "" {
		n.log.Noticef("nfs: nfs.nfs4_unique_id=%s is this node's NFSv4 identity: nodes with the same identity and the same host name block each other", given)
	}
}

// mountRW mounts the node's own layer: what sidus.rw= names, or, if that fails and
// the operator allows it, a tmpfs instead.
func (n *node) mountRW() (string, error) {
	if n.cfg.RW.Kind == "tmpfs" {
		return n.mountTmpfs()
	}
	detail, err := n.mountVolume()
	if err == nil {
		err = n.matchUpper()
	}
	if err == nil || n.cfg.RW.Fallback != "tmpfs" {
		return detail, err
	}
	return n.fallBack("rw: " + withRemedy(err).Error())
}

// fallBack mounts a tmpfs on /rw instead of the volume, which is left as it is.
func (n *node) fallBack(why string) (string, error) {
	n.log.Errorf("%s", why)
	n.log.Errorf("rw: a tmpfs instead (sidus.rw.fallback=tmpfs): WHAT THIS NODE WRITES IS LOST AT ITS NEXT BOOT")
	n.report.Failures.Add(why)
	// It may have failed after it was mounted.
	if err := mounts.Detach(rwDir); err != nil {
		n.log.Errorf("rw: %v", err)
	}
	n.dropLUN()
	return n.mountTmpfs()
}

func (n *node) mountTmpfs() (string, error) {
	if err := rwlayer.Tmpfs(n.system.Mount, rwDir, rwlayer.Options{Size: n.cfg.RW.Size}); err != nil {
		return "", err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(rwDir, &st); err != nil {
		return "", fmt.Errorf("statfs %s: %w", rwDir, err)
	}
	n.report.RW = bootlog.RW{Kind: "tmpfs", Size: n.cfg.RW.Size, Bytes: st.Blocks * uint64(st.Bsize)}
	return fmt.Sprintf("tmpfs of at most %d MiB", n.report.RW.Bytes>>20), nil
}

// mountUnion makes the union. If the volume is the cause of a failure and the
// operator allows it, a tmpfs takes the volume's place.
func (n *node) mountUnion() (string, error) {
	n.waitFor("the modules of the union")
	union := <-n.union
	n.union <- union // For the next attempt.
	if union.err != nil {
		return "", union.err
	}
	detail, err := n.stackLayers(union.kind)
	var gone *versionError
	if err == nil || n.report.RW.Kind == "tmpfs" || n.cfg.RW.Fallback != "tmpfs" || errors.As(err, &gone) {
		return detail, err
	}
	if uerr := mounts.Detach(unionDir); uerr != nil {
		return "", errors.Join(err, uerr)
	}
	if _, err := n.fallBack("union: " + strings.TrimPrefix(err.Error(), "union: ")); err != nil {
		return "", err
	}
	// If the tree is the cause, this one fails as well.
	return n.stackLayers(union.kind)
}

// stackLayers makes and tests the union. If the version of NFS is the cause of a
// failure, the tree is mounted by the next version and the union made again.
func (n *node) stackLayers(kind overlay.Kind) (string, error) {
	for {
		n.waitFor("the test of the union")
		err := n.stack(kind)
		if err == nil {
			n.report.Union.Kind = string(kind)
			return string(kind), nil
		}
		again, nextErr := n.nextVersion(kind, err)
		if nextErr != nil {
			return "", nextErr
		}
		if !again {
			return "", err
		}
	}
}

// stack makes and tests the union of the layers.
func (n *node) stack(kind overlay.Kind) error {
	layers := overlay.Layers{
		Lower: roDir, Upper: rwDir + "/" + rwlayer.Upper, Work: rwDir + "/" + rwlayer.Work,
		XIno: rwDir + "/.aufs.xino", Source: rwDir, Kept: n.report.RW.Kind != "tmpfs",
	}
	if kind == overlay.Overlay {
		if err := overlay.Opaque(layers.Lower, layers.Upper, moved...); err != nil {
			return err
		}
	}
	checkWrite := overlay.CheckWrite
	if layers.Kept {
		checkWrite = n.checkKept
	}
	err := overlay.Mount(n.system, kind, layers, unionDir, n.checkUnion(checkWrite))
	if layers.Kept && n.needsTmpfs(kind, err) {
		err = n.stackTmpfs(layers, err)
	}
	if err != nil {
		return err
	}
	if err := n.makeMountPoints(unionDir); err != nil {
		return err
	}
	n.mountUsr(layers.Upper)
	return nil
}
