package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/source"
)

// inspectTime is what the checks of a mounted root may take that do not decide the
// boot.
const inspectTime = 15 * time.Second

// inspectRoot finds out what is wrong with a mounted root although a node can boot
// from it. Each finding is one line with its remedy, and in boot.json.
func (n *node) inspectRoot() error {
	ctx, cancel := context.WithTimeout(context.Background(), inspectTime)
	defer cancel()
	n.waitFor("the NFS server, to find out whether the export is writable")
	writable, err := n.nfs.Writable(ctx, n.root.Source.Source, n.root.NFS, checkDir)
	if err != nil {
		if n.cfg.RefuseWritable {
			return err
		}
		n.log.Errorf("%v", err)
	}
	if writable {
		if n.cfg.RefuseWritable {
			return fmt.Errorf("nfs: %s: %w", n.root, nfs.ErrWritable)
		}
		n.note(fmt.Sprintf("nfs: %s: %v", n.root, nfs.ErrWritable))
	}
	n.report.Root = bootlog.Root{
		Source: n.root.String(), Version: n.root.NFS, Options: n.root.Data(n.root.NFS),
		Origin: n.root.Origin, Writable: writable, TreeVersion: n.root.Version,
	}
	for _, finding := range source.Findings(roDir, n.cfg.Init, n.report.Kernel) {
		n.note("nfs: " + n.root.String() + ": " + finding)
	}
	n.mounter().NoteNested(n.root.Source.Source, n.root.NFS, roDir)
	return nil
}
