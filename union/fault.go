package union

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// VersionAtFault tells whether a union failed because of the version of NFS by which
// the tree is mounted, and not because of /rw. That is so if the error is one that
// no local file system has, if /rw is a tmpfs with free space, or if a union with
// an empty tmpfs fails as well. That the same union works the second time proves
// nothing: kernel 7.3 over nfs-ganesha's 4.1 fails at the first open of a directory.
func (b *Builder) VersionAtFault(kind overlay.Kind, why error) bool {
	for _, errno := range [...]error{unix.EREMOTEIO, unix.EREMOTE, unix.ESTALE, unix.EPROTO, unix.EOPNOTSUPP, unix.ETIMEDOUT} {
		if errors.Is(why, errno) {
			return true
		}
	}
	if !b.Kept {
		return !errors.Is(why, unix.ENOSPC) && !errors.Is(why, unix.ENOMEM)
	}
	return b.trialFails(kind)
}

// trialFails tells whether a union with an empty tmpfs fails.
func (b *Builder) trialFails(kind overlay.Kind) bool {
	defer func() {
		if err := mounts.Detach(b.Trial); err != nil {
			b.Logf("%v", err)
		}
	}()
	if err := rwlayer.Tmpfs(b.System.Mount, b.Trial, rwlayer.TmpfsOptions{Size: "16m"}); err != nil {
		return false
	}
	trial := b.Trial + "/union"
	if err := os.Mkdir(trial, 0o755); err != nil {
		return false
	}
	if err := overlay.Mount(b.System, kind, b.layers(b.Trial), trial, b.check(overlay.CheckWrite)); err != nil {
		return true
	}
	return b.System.Unmount(trial) != nil
}
