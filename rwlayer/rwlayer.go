// Package rwlayer makes /rw, the node's own layer of the union: a
// tmpfs of a given size, or a volume, which is a block device with a file system.
// The upper and the work directory of the union are made in it.
//
// Mount makes /rw of a volume. Nothing is reserved, checked or mounted before it
// is known that the volume is this node's own, and a file system is made only on
// one that is proven blank. Mount, Hold, Register, CheckHolder, Admit and Release keep
// two nodes from one volume, by SCSI persistent reservations.
//
// It reads /sys/class/block, /sys/class/scsi_device and the devices in /dev. It
// needs the module of the file system (ext4, xfs, btrfs) and, of the tree, the
// programs /sbin/mkfs.ext4 and /sbin/fsck.ext4. On a volume it keeps files of its
// own beside the upper directory: .sidusboot-owner says which node had the volume
// last, .sidusboot-spare keeps space for the next boot of a volume that is full.
package rwlayer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Upper and Work are the directories within /rw that the union uses.
const (
	Upper = "upper"
	Work  = "work"
)

// TmpfsOptions say what /rw is to be.
type TmpfsOptions struct {
	// Size is the tmpfs's size= text. It is a limit, not an allocation.
	Size string
}

// MountFunc is mount(2).
type MountFunc func(device, dir, fstype string, flags uintptr, data string) error

// Tmpfs mounts a tmpfs on dir and makes the upper and the work directory in
// it. Its mode is 0755: the root of the upper directory is what users see as
// "/", and one that everybody may write would be unsafe.
func Tmpfs(mount MountFunc, dir string, o TmpfsOptions) error {
	data := "mode=0755,size=" + o.Size
	if err := mount("sidusboot-rw", dir, "tmpfs", 0, data); err != nil {
		err = fmt.Errorf("rwlayer: tmpfs on %s with %s: %w", dir, data, err)
		if errors.Is(err, unix.EINVAL) {
			return &SizeError{Size: o.Size, Err: err}
		}
		return err
	}
	return makeDirs(dir)
}

// A SizeError says that the kernel takes the text of a tmpfs's size for none.
type SizeError struct {
	Size string
	Err  error
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%v: the size must be a number, with k, m, g or %%", e.Err)
}

func (e *SizeError) Unwrap() error { return e.Err }

// makeDirs makes what the union needs in /rw, with the modes that it needs.
func makeDirs(dir string) error {
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{Upper, 0o755}, {Work, 0o700}} {
		path := filepath.Join(dir, d.name)
		if err := os.Mkdir(path, d.mode); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("rwlayer: %w", err)
		}
		// A link would make the union write somewhere else.
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			return fmt.Errorf("rwlayer: %s of the volume is not a directory: %w: no node made it; remove it", d.name, errors.Join(unix.ENOTDIR, err))
		}
		if err := os.Chmod(path, d.mode); err != nil {
			return fmt.Errorf("rwlayer: %w", err)
		}
	}
	return nil
}
