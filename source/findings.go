package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/tree"
)

// inspectTime is what the checks of a mounted root may take that do not decide the
// boot.
const inspectTime = 15 * time.Second

// inspectRoot finds out what is wrong with a mounted root although a node can boot
// from it. Each finding is one line with its remedy, and in boot.json.
func (n *node) inspectRoot(version string) error {
	ctx, cancel := context.WithTimeout(context.Background(), inspectTime)
	defer cancel()
	n.waitFor("the NFS server, which is asked whether the export is writable")
	writable, err := n.nfs.Writable(ctx, n.source.Source, version, checkDir)
	if err != nil {
		if n.cfg.RefuseWritable {
			return err
		}
		n.log.Errorf("%v", err)
	}
	if writable {
		if n.cfg.RefuseWritable {
			return fmt.Errorf("nfs: %s: %w", n.source, nfs.ErrWritable)
		}
		n.note(fmt.Sprintf("nfs: %s: %v", n.source, nfs.ErrWritable))
	}
	n.report.Root = bootlog.Root{
		Source: n.source.String(), Version: version, Options: n.source.Data(version),
		Origin: n.source.origin, Writable: writable, TreeVersion: n.treeVersion,
	}
	for _, finding := range findings(roDir, n.cfg.Init, n.report.Kernel) {
		n.note("nfs: " + n.source.String() + ": " + finding)
	}
	n.warnNested(version, roDir)
	return nil
}

// maxNested is how many file systems within a tree are named: a server may have
// thousands, one for each user.
const maxNested = 10

// warnNested names what is on the server below the tree in dir and cannot be
// seen.
func (n *node) warnNested(version, dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), inspectTime)
	defer cancel()
	n.waitFor("the NFS server, which is asked for file systems within the tree")
	nested := n.nfs.Nested(ctx, n.source.Source, version, dir)
	if more := len(nested) - maxNested; more > 0 {
		nested = append(nested[:maxNested], fmt.Sprintf("and %d more", more))
	}
	if len(nested) > 0 {
		n.note(fmt.Sprintf("nfs: %s: on the server other file systems begin within the tree, at %s, and no node sees them: "+
			"put these directories on the tree's own file system, or mount them by the tree's fstab", n.source, strings.Join(nested, ", ")))
	}
}

// findings are what is wrong with the tree in root for this kernel.
func findings(root, wantedInit, release string) (all []string) {
	// Where the owners are wrong in every version of NFS the tree is taken as it is.
	var owner *tree.OwnerError
	if err := tree.At(root).CheckOwner(wantedInit); errors.As(err, &owner) {
		all = append(all, fmt.Sprintf("%v: %v", owner, nfs.ErrOwner))
	}
	// Login and sudo fail there in ways that nobody traces back to NFS.
	f, err := tree.At(root).Open("/etc/shadow")
	if errors.Is(err, os.ErrPermission) {
		all = append(all, "root may not read /etc/shadow in the tree: export it with no_root_squash, or nobody can log in")
	}
	if err == nil {
		f.Close()
	}
	if !tree.At(root).IsDir("/lib/modules/" + release) {
		all = append(all, "the tree has no /lib/modules/"+release+": after the switch this kernel can load no module: install the kernel's package in the tree, or boot the kernel that the tree has")
	}
	return all
}
