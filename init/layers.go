package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/identity"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/source"
	"github.com/sidusboot/sidusboot/union"
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
	if n.cfg.SpreadRoots {
		sources = source.Spread(sources, n.lease)
	}
	if n.root, err = n.mounter().Mount(ctx, sources); err != nil {
		return "", err
	}
	if err := n.inspectRoot(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s with version %s, from the %s", n.root, n.root.NFS, n.root.Origin), nil
}

// locateRoot finds out from which servers the tree is to be had, by the parameters
// and a lease.
func (n *node) locateRoot(ctx context.Context, l *network.Lease) ([]source.Source, error) {
	facts := n.factsOf(l)
	// Without UEFI the loader came by next-server.
	if _, err := os.Stat("/sys/firmware/efi"); err == nil && n.cfg.BootServer.Find {
		facts.Boot = func() (server, from string) { return n.findBootServer(ctx, l) }
	}
	roots, err := n.cfg.ResolveRoots(facts)
	if err != nil {
		return nil, err
	}
	return source.Locate(ctx, roots, l)
}

func (n *node) mounter() *source.Mounter {
	return &source.Mounter{
		NFS: n.nfs, Dir: roDir, Version: n.cfg.TreeVersion, Lease: n.lease,
		WaitFor: n.waitFor, Logf: n.log.Errorf, Note: n.note,
	}
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
	if err := rwlayer.Tmpfs(n.system.Mount, rwDir, rwlayer.TmpfsOptions{Size: n.cfg.RW.Size}); err != nil {
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
	chosen := <-n.union
	n.union <- chosen // For the next attempt.
	if chosen.err != nil {
		return "", chosen.err
	}
	detail, err := n.stackLayers(chosen.kind)
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
	return n.stackLayers(chosen.kind)
}

// stackLayers makes and tests the union. If the version of NFS is the cause of a
// failure, the tree is mounted by the next version and the union made again.
func (n *node) stackLayers(kind overlay.Kind) (string, error) {
	b := n.unionBuilder()
	for {
		n.waitFor("the test of the union")
		err := b.Mount(kind)
		if err == nil {
			n.mountUsr(b)
			n.report.Union.Kind = string(kind)
			return string(kind), nil
		}
		again, nextErr := n.nextVersion(b, kind, err)
		if nextErr != nil {
			return "", nextErr
		}
		if !again {
			return "", err
		}
	}
}

func (n *node) unionBuilder() *union.Builder {
	return &union.Builder{
		System: n.system, Lower: roDir, RW: rwDir, Dir: unionDir, Full: fullDir, Trial: checkDir,
		Kept: n.report.RW.Kind != "tmpfs", RefuseFull: n.cfg.RW.Fallback == "tmpfs", Size: n.cfg.RW.Size,
		Init: n.cfg.Init, MountPoints: moved, Logf: n.log.Errorf, Note: n.note,
	}
}

// mountUsr mounts the tree's /usr over that of the union, for sidus.usr=direct. What
// prevents that is said, and the union's /usr stays.
func (n *node) mountUsr(b *union.Builder) {
	if !n.cfg.UsrDirect {
		return
	}
	hidden, err := b.MountUsr()
	if err != nil {
		n.note(fmt.Sprintf("union: sidus.usr=direct has no effect: %v", err))
		return
	}
	if len(hidden) > 0 {
		n.note("union: sidus.usr=direct hides what this node has changed in /usr, such as " + strings.Join(hidden, ", "))
	}
	n.report.Union.UsrDirect = true
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
func (n *node) nextVersion(b *union.Builder, kind overlay.Kind, why error) (again bool, err error) {
	if !b.VersionAtFault(kind, why) {
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
	n.waitFor("the NFS server " + n.root.Addr.String())
	version, err := n.nfs.NextVersion(ctx, n.root.Source.Source, n.root.NFS, roDir, why)
	if errors.Is(err, nfs.ErrNoOtherVersion) {
		return false, nil
	}
	if err == nil {
		n.root.NFS = version
		err = n.inspectRoot()
	}
	if err != nil {
		return false, &versionError{why, err}
	}
	n.log.Noticef("nfs: %s with version %s", n.root, version)
	return true, nil
}
