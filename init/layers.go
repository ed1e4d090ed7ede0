package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// mountRoot finds out what the root is and mounts it.
func (n *node) mountRoot() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout)
	defer cancel()
	root, err := config.ResolveRoot(n.cfg.Root, n.leaseFacts(), n.cfg.FileRoot)
	if err != nil {
		return "", err
	}
	addr, err := n.address(ctx, root.Server)
	if err != nil {
		return "", err
	}
	n.source = nfs.Source{
		Server: root.Server, Addr: addr, Path: root.Path, Client: n.lease.Addr.Addr(),
		Version: root.Version, Options: root.Options,
	}
	if err := n.seeNextHop(ctx, addr); err != nil {
		return "", err
	}
	n.waitFor("the NFS server " + addr.String())
	version, err := n.nfs.Mount(ctx, n.source, roDir)
	if err != nil {
		return "", err
	}
	writable, err := n.nfs.Writable(n.source, version, checkDir)
	if err != nil {
		n.log.errorf("%v", err)
	}
	if writable {
		if n.cfg.RefuseWritable {
			return "", fmt.Errorf("nfs: %s: %w", n.source, nfs.ErrWritable)
		}
		n.log.errorf("nfs: %s: %v", n.source, nfs.ErrWritable)
	}
	n.report.Root = rootFacts{
		Source: n.source.String(), Version: version, Options: n.source.Data(version),
		Origin: root.Origin, Writable: writable,
	}
	n.warnSquash()
	return fmt.Sprintf("%s with version %s, from the %s", n.source, version, root.Origin), nil
}

// warnSquash warns of an export in which root is nobody: login and sudo fail
// there in ways that nobody traces back to NFS.
func (n *node) warnSquash() {
	f, err := tree.At(roDir).Open("/etc/shadow")
	if errors.Is(err, os.ErrPermission) {
		n.log.errorf("nfs: root may not read /etc/shadow in the tree: export it with no_root_squash, or nobody can log in")
	}
	if err == nil {
		f.Close()
	}
}

// mountRW mounts the node's own layer: what sidus.rw= asks for, or, where that
// cannot be had and the operator allows it, a tmpfs instead.
func (n *node) mountRW() (string, error) {
	if n.cfg.RW.Kind == "tmpfs" {
		return n.mountTmpfs()
	}
	detail, err := n.mountVolume()
	if err == nil || n.cfg.RW.Fallback != "tmpfs" {
		return detail, err
	}
	return n.fallBack("rw: " + err.Error())
}

// fallBack takes a tmpfs for /rw instead of a volume. The volume is left as it is.
func (n *node) fallBack(why string) (string, error) {
	n.log.errorf("%s", why)
	n.log.errorf("rw: a tmpfs instead (sidus.rw.fallback=tmpfs): WHAT THIS NODE WRITES IS LOST AT ITS NEXT BOOT")
	n.report.Failures = append(n.report.Failures, why)
	// It may have failed behind its mount.
	if err := unmountAll(rwDir); err != nil {
		n.log.errorf("rw: %v", err)
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
	n.report.RW = rwFacts{Kind: "tmpfs", Size: n.cfg.RW.Size, Bytes: st.Blocks * uint64(st.Bsize)}
	return fmt.Sprintf("tmpfs of at most %d MiB", n.report.RW.Bytes>>20), nil
}

// mountUnion makes the union, or, where the volume is to blame and the operator
// allows it, one with a tmpfs instead.
func (n *node) mountUnion() (string, error) {
	n.waitFor("the modules of the union")
	can := <-n.union
	n.union <- can // For the next attempt.
	if can.err != nil {
		return "", can.err
	}
	detail, err := n.stackLayers(can)
	if err == nil || n.report.RW.Kind == "tmpfs" || n.cfg.RW.Fallback != "tmpfs" {
		return detail, err
	}
	if uerr := unmountAll(unionDir); uerr != nil {
		return "", errors.Join(err, uerr)
	}
	if _, err := n.fallBack("union: " + strings.TrimPrefix(err.Error(), "union: ")); err != nil {
		return "", err
	}
	// Where the tree is to blame, this one fails as well.
	return n.stackLayers(can)
}

// stackLayers stacks the layers and tests that the union can be written.
func (n *node) stackLayers(can unionResult) (string, error) {
	n.waitFor("the union to be written and read")
	layers := overlay.Layers{
		Lower: roDir, Upper: rwDir + "/" + rwlayer.Upper, Work: rwDir + "/" + rwlayer.Work,
		XIno: rwDir + "/.aufs.xino", Source: rwDir, Kept: n.report.RW.Kind != "tmpfs",
	}
	if can.kind == overlay.Overlay {
		if err := overlay.Opaque(layers.Lower, layers.Upper, moved...); err != nil {
			return "", err
		}
	}
	test := testUnion
	if layers.Kept {
		test = n.testKept
	}
	if err := overlay.Mount(n.system, can.kind, layers, unionDir, test); err != nil {
		return "", err
	}
	program, err := findInit(unionDir, n.cfg.Init)
	if err != nil {
		return "", err
	}
	resolved, err := tree.At(unionDir).Resolve(program)
	if err != nil {
		return "", err
	}
	if err := testUsers(unionDir + resolved); err != nil {
		return "", err
	}
	if err := makeMountPoints(); err != nil {
		return "", err
	}
	n.report.Union.Kind = string(can.kind)
	return string(can.kind), nil
}
