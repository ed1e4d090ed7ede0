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

// makeRoom frees the spare of a volume that is full, and reports how full it is:
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

// checkKept is overlay.CheckWrite for a layer that is kept. A full one is accepted,
// because a user can delete files in it, unless the operator prefers a tmpfs.
func (n *node) checkKept(dir string) error {
	err := overlay.CheckWrite(dir)
	if n.cfg.RW.Fallback != "tmpfs" && isFull(err) {
		n.log.Errorf("union: the volume is full, nothing can be written: %v", err)
		return nil
	}
	return err
}

// isFull tells whether an error means that there is no space.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// fullDir is the tmpfs of stackTmpfs. It moves into the union with /run.
const fullDir = stateDir + "/full"

// needsTmpfs tells whether a union failed because the volume is so full that a tmpfs
// over it is needed: overlayfs needs a few inodes and blocks of the volume to be
// mounted, and a volume that was filled before a spare was kept on it has none.
func (n *node) needsTmpfs(kind overlay.Kind, err error) bool {
	return kind == overlay.Overlay && isFull(err) && n.cfg.RW.Fallback != "tmpfs"
}

// stackTmpfs makes a union of three layers: a tmpfs over the volume's layer over the
// tree. Everything that the node has kept can be read, and what it writes is lost
// at its next boot. A user can log in and delete files below /rw.
func (n *node) stackTmpfs(kept overlay.Layers, why error) error {
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
	return overlay.Mount(n.system, overlay.Overlay, layers, unionDir, n.checkUnion(overlay.CheckWrite))
}
