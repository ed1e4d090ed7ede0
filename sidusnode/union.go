package sidusnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/union"
)

const (
	unionDir = image.Union
	// oldRW is where the layer that the node has is in the sandbox.
	oldRW = "/oldrw"
	// nextRoot becomes the root by a soft-reboot (systemd-soft-reboot.service(8)).
	nextRoot = "/run/nextroot"
)

// points are the mount points that a union must have.
var points = []string{roDir, rwDir, "/dev", "/proc", "/sys", "/run"}

// makeUnion makes, in the sandbox, what /init makes at a boot: the union of the
// tree on roDir with a new tmpfs, tested, with the files of this node and with both
// layers mounted in it.
func makeUnion(say func(key, value string), kind overlay.Kind, r *Recipe) error {
	say(saidDoing, "the union")
	if err := rwlayer.Tmpfs(unix.Mount, rwDir, rwlayer.TmpfsOptions{Size: r.Size}); err != nil {
		return err
	}
	note := func(text string) { say(saidNote, text) }
	b := &union.Builder{
		System: &kernel{}, Lower: roDir, RW: rwDir, Dir: unionDir, Size: r.Size, Init: r.Init, MountPoints: points, Note: note,
	}
	if err := b.Mount(kind); err != nil {
		return err
	}
	if r.UsrDirect {
		if _, err := b.MountUsr(); err != nil {
			note("sidus.usr=direct has no effect: " + err.Error())
		}
	}
	say(saidDoing, "the node's own files")
	_, errs := r.Files.Write(unionDir, roDir)
	for _, err := range append(errs, keepSSHKeys()...) {
		note(err.Error())
	}
	for _, dir := range []string{roDir, rwDir} {
		if err := unix.Mount(dir, unionDir+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s into the union: %w", dir, err)
		}
	}
	return nil
}

// keepSSHKeys copies host keys that this node has made: who has seen them is not
// to be warned of another machine.
func keepSSHKeys() (errs []error) {
	next := tree.At(unionDir)
	if !next.IsDir("/etc/ssh") {
		return nil
	}
	own, err := filepath.Glob(oldRW + "/" + rwlayer.Upper + "/etc/ssh/ssh_host_*")
	if err != nil {
		return nil
	}
	for _, name := range own {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(name)
		if err == nil {
			err = next.ReplaceMode("/etc/ssh/"+filepath.Base(name), text, info.Mode().Perm())
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// offerUnion puts the union of the sandbox, with what is mounted in it, on nextRoot
// of PID 1's mount namespace.
func offerUnion() error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, unionDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("clone the mounts of the union: %w", err)
	}
	defer unix.Close(fd)
	if err := mounts.EnterInit(); err != nil {
		return fmt.Errorf("enter the mount namespace of PID 1: %w", err)
	}
	if err := os.Mkdir(nextRoot, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, nextRoot, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount the union on %s: %w", nextRoot, err)
	}
	return nil
}

// kernel is overlay.System. The modules have been loaded since the boot.
type kernel struct{}

func (*kernel) Load(string) error { return nil }

func (*kernel) Has(fstype string) (bool, error) { return overlay.Has("/proc/filesystems", fstype) }

func (*kernel) Mount(device, dir, fstype string, flags uintptr, data string) error {
	return unix.Mount(device, dir, fstype, flags, data)
}

func (*kernel) Unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }
