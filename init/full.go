package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// makeRoom frees the spare of a volume that is full, and says how full it is:
// files can be deleted only on a node that has booted.
func (n *node) makeRoom(name string) {
	u, spent, err := rwlayer.FreeSpare(rwDir)
	if err != nil {
		n.note("rw: " + err.Error())
	}
	n.report.RW.Usage, n.report.RW.Full = u.String(), spent || u.Full()
	if n.report.RW.Full {
		n.log.Errorf("rw: THE VOLUME %s IS FULL: %s: delete files that are not needed, or make the volume larger; the node boots, but what it cannot write fails", name, u)
	}
}

// testKept is testUnion for a layer that is kept. A full one can be read, and
// what is in it deleted, which is the only remedy, unless the operator prefers a
// tmpfs to it.
func (n *node) testKept(dir string) error {
	err := overlay.CheckWrite(dir)
	if n.cfg.RW.Fallback != "tmpfs" && isFull(err) {
		n.log.Errorf("union: nothing can be written: %v", err)
		return nil
	}
	return err
}

// isFull tells whether there was no space for something.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// fullDir holds the tmpfs of stackOver. It moves into the union with /run.
const fullDir = stateDir + "/full"

// stacksOver tells whether stackOver helps: overlayfs needs a few inodes and
// blocks of the volume to be mounted, and a volume that was filled before a spare
// was kept on it has none.
func (n *node) stacksOver(kind overlay.Kind, err error) bool {
	return kind == overlay.Overlay && isFull(err) && n.cfg.RW.Fallback != "tmpfs"
}

// stackOver makes a union of a tmpfs over the volume's layer over the tree: all
// that the node has kept is there, and what it writes is gone at its next boot.
// A user can log in and delete files below /rw.
func (n *node) stackOver(kept overlay.Layers, why error) error {
	n.note(fmt.Sprintf("union: the volume has no space left even for the union (%v): a tmpfs lies over it: WHAT THIS NODE WRITES IS LOST AT ITS NEXT BOOT; "+
		"delete files that are not needed below /rw/%s and reboot", why, rwlayer.Upper))
	if err := mounts.Detach(fullDir); err != nil {
		return err
	}
	if err := os.MkdirAll(fullDir, 0o700); err != nil {
		return err
	}
	if err := rwlayer.Tmpfs(n.system.Mount, fullDir, rwlayer.Options{Size: n.cfg.RW.Size}); err != nil {
		return err
	}
	layers := overlay.Layers{
		Lower: kept.Upper + ":" + kept.Lower, Upper: fullDir + "/" + rwlayer.Upper, Work: fullDir + "/" + rwlayer.Work, Source: kept.Source,
	}
	if err := overlay.Opaque(kept.Lower, layers.Upper, moved...); err != nil {
		return err
	}
	return overlay.Mount(n.system, overlay.Overlay, layers, unionDir, func(dir string) error { return n.tryUnion(dir, overlay.CheckWrite) })
}
