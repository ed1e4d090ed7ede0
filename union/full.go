package union

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// checkKept is overlay.CheckWrite for a layer that is kept. A full one is accepted,
// because a user can delete files in it, unless the operator prefers a tmpfs.
func (b *Builder) checkKept(dir string) error {
	err := overlay.CheckWrite(dir)
	if !b.RefuseFull && isFull(err) {
		b.Logf("union: the volume is full, nothing can be written: %v", err)
		return nil
	}
	return err
}

// isFull tells whether an error means that there is no space.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// needsTmpfs tells whether a union failed because the volume is so full that a tmpfs
// over it is needed: overlayfs needs a few inodes and blocks of the volume to be
// mounted, and a volume that was filled before a spare was kept on it has none.
func (b *Builder) needsTmpfs(kind overlay.Kind, err error) bool {
	return kind == overlay.Overlay && isFull(err) && !b.RefuseFull
}

// stackTmpfs makes a union of three layers: a tmpfs over the volume's layer over the
// tree. Everything that the node has kept can be read, and what it writes is lost
// at its next boot. A user can log in and delete files below /rw.
func (b *Builder) stackTmpfs(kept overlay.Layers, why error) error {
	b.Note(fmt.Sprintf("union: the volume has no space left even for the union (%v): a tmpfs is used over it: WHAT THIS NODE WRITES IS LOST AT ITS NEXT BOOT; "+
		"delete files that are not needed below /rw/%s and reboot", why, rwlayer.Upper))
	if err := mounts.Detach(b.Full); err != nil {
		return err
	}
	if err := os.MkdirAll(b.Full, 0o700); err != nil {
		return err
	}
	if err := rwlayer.Tmpfs(b.System.Mount, b.Full, rwlayer.TmpfsOptions{Size: b.Size}); err != nil {
		return err
	}
	layers := overlay.Layers{
		Lower: kept.Upper + ":" + kept.Lower, Upper: b.Full + "/" + rwlayer.Upper, Work: b.Full + "/" + rwlayer.Work, Source: kept.Source,
	}
	if err := overlay.MakeOpaque(kept.Lower, layers.Upper, b.MountPoints...); err != nil {
		return err
	}
	return overlay.Mount(b.System, overlay.Overlay, layers, b.Dir, b.check(overlay.CheckWrite))
}
