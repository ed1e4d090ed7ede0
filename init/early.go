package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/image"
)

// An earlyMount is a file system that is needed before anything else and that
// the real init inherits.
type earlyMount struct {
	dir, fstype string
	flags       uintptr
	data        string
}

// earlyMounts are mounted in this order. The options are those that systemd
// asks of an initrd (INITRD_INTERFACE). /run is not noexec: the real init
// finds /run/initramfs/shutdown there.
var earlyMounts = []earlyMount{
	{"/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=20%,nr_inodes=800k"},
}

// Directories of the node while it boots.
const (
	roDir    = image.ReadOnly
	rwDir    = image.ReadWrite
	unionDir = image.Union
	stateDir = "/run/sidusboot"
	checkDir = "/run/sidusboot/rw-check"
	// fullDir is for a tmpfs over a volume that is full. It moves into the union with
	// /run.
	fullDir = stateDir + "/full"
	lookDir = "/look" // A volume, while it is found out whose it is.
)

func mountEarly() error {
	for _, m := range earlyMounts {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fstype, m.dir, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.dir, err)
		}
	}
	for _, dir := range []string{roDir, rwDir, unionDir, stateDir, checkDir, lookDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Magic numbers of the file systems that an initramfs can be (linux/magic.h).
const (
	ramfsMagic = 0x858458f6
	tmpfsMagic = 0x01021994
)

// guard makes sure that this is a booting node and nothing else: what follows
// moves mounts and empties the root directory.
func guard() error {
	if pid := os.Getpid(); pid != 1 {
		return fmt.Errorf("/init must run as PID 1 in the initramfs; this is PID %d", pid)
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		return fmt.Errorf("statfs /: %w", err)
	}
	if kind := uint32(st.Type); kind != ramfsMagic && kind != tmpfsMagic {
		return fmt.Errorf("/init must run in the initramfs; the root file system is of type %#x", kind)
	}
	if _, err := os.Stat(image.Release); err != nil {
		return fmt.Errorf("the initramfs was not made by initrdgen: %w", err)
	}
	return nil
}

// seedRandom waits until the kernel can give random bytes. It is run in the
// background: a blocking call makes the kernel collect entropy, which will be needed.
func seedRandom() error {
	var b [1]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		return fmt.Errorf("getrandom: %w", err)
	}
	return nil
}
