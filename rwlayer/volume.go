package rwlayer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A System is what a volume needs of its surroundings.
type System interface {
	// Load loads a kernel module.
	Load(module string) error
	// Mount is mount(2).
	Mount(device, dir, fstype string, flags uintptr, data string) error
	// Unmount ends what Mount began.
	Unmount(dir string) error
	// SetReadOnly makes the kernel's file systems leave a device unwritten, or
	// ends that.
	SetReadOnly(device string, on bool) error
	// Run runs a program of the tree, in the tree, with /dev, and returns what
	// it wrote and its exit status. onLine, which may be nil, is called with each
	// line that the program writes to ProgressFD.
	Run(onLine func(line string), argv ...string) (output string, status int, err error)
}

// VolumeOptions say how a device becomes /rw.
type VolumeOptions struct {
	// Format allows mkfs on a device that is proven blank.
	Format bool
	// Reserve, where it is not zero, is this node's key for a reservation of
	// the device before anything is written to it.
	Reserve Key
	// Takeover, where it is not zero, is the key of another node from which the
	// device may be taken.
	Takeover Key
	// Label is given to a file system that is made. One that has it is this
	// node's own.
	Label string
	// Adopt are UUIDs and labels of file systems that the operator gives to this
	// node, whatever is in them.
	Adopt []string
	// Place, where it is not empty, says where the device comes from, the same at
	// each boot: it is written onto the volume with the key of Reserve, and a
	// volume of another key that came from another place is refused.
	Place string
	// InspectDir is an empty directory, outside the union, on which a file system
	// is mounted read-only to find out whose it is.
	InspectDir string
	// Name is what messages call the device; without it, its path.
	Name string
	Logf func(format string, args ...any)
	// Waiting, which may be nil, is told what is being waited for.
	Waiting func(what string)
}

func (o VolumeOptions) waiting(what string) {
	if o.Waiting != nil {
		o.Waiting(o.Name + ": " + what)
	}
}

// A BlankError says that a device is blank and that formatting was not
// allowed.
type BlankError struct{ Name string }

func (e *BlankError) Error() string {
	return e.Name + " is blank: allow this node to make a file system on it, or make one yourself"
}

// A CheckError says that fsck did not find a file system clean and could not
// make it so.
type CheckError struct {
	Name, Output string
	Status       int
}

func (e *CheckError) Error() string {
	return fmt.Sprintf("%s: fsck.ext4 -p exited with status %d and left errors: it is not mounted; run e2fsck -f on the volume on its server, while no node uses it: %s",
		e.Name, e.Status, strings.TrimSpace(e.Output))
}

// Mount makes /rw of a block device. It looks first, without writing anything
// and without telling the target anything: is it blank, or a file system of this
// node's own? Only then it reserves the device, looks again, makes a file system
// where that is allowed and the device is proven blank, checks the file system
// with the tree's own program, unless it is clean, mounts it on dir and makes the
// upper and the work directory. It returns what was mounted, and whether it was made just now. When
// it fails it has given back the reservation that it took.
func Mount(sys System, device, dir string, o VolumeOptions) (v Volume, made bool, err error) {
	if o.Name == "" {
		o.Name = device
	}
	found, err := inspect(sys, device, o)
	if err != nil {
		return found.Volume, false, fmt.Errorf("rwlayer: %w", err)
	}
	if o.Reserve != 0 {
		o.waiting("its reservation")
		if err := reserveDevice(device, o); err != nil {
			return found.Volume, false, fmt.Errorf("rwlayer: reserve %s: %w", o.Name, err)
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, releaseDevice(device, o.Reserve))
			}
		}()
		if err := inspectAgain(device, o, found); err != nil {
			return found.Volume, false, fmt.Errorf("rwlayer: %w", err)
		}
	}
	v = found.Volume
	skipped := !found.blank && clean(device, v)
	if found.blank {
		o.waiting("mkfs.ext4")
		v, err = format(sys, device, o.Label)
		if err != nil {
			return v, false, fmt.Errorf("rwlayer: %s: %w", o.Name, err)
		}
		made = true
	} else if !skipped {
		if err := check(sys, device, v, o); err != nil {
			return v, false, fmt.Errorf("rwlayer: %w", err)
		}
	}
	if err := sys.Load(v.Type); err != nil {
		return v, made, fmt.Errorf("rwlayer: %s is %s: %w", o.Name, v.Type, err)
	}
	err = mountMarked(sys, device, dir, v, o)
	if skipped && err != nil {
		// It may be damaged, and is not to be checked while it is mounted.
		err = unmount(sys, dir)
		if err == nil {
			err = check(sys, device, v, o)
		}
		if err == nil {
			err = mountMarked(sys, device, dir, v, o)
		}
	}
	if err != nil {
		return v, made, errors.Join(fmt.Errorf("rwlayer: %w", err), unmount(sys, dir))
	}
	return v, made, nil
}

// mountMarked mounts the file system on dir, makes the union's directories in it
// and writes down whose it is. Where nothing else marks it as this node's own that
// is the mark by which the next boot knows it, and inspectContents does not replay
// a journal: unmounting once writes the mark to its place.
func mountMarked(sys System, device, dir string, v Volume, o VolumeOptions) error {
	if err := mountOnce(sys, device, dir, v, o); err != nil {
		return err
	}
	marked := o.labelled(v) || isDir(dir, Upper) && isDir(dir, Work)
	if err := makeDirs(dir); err != nil {
		return err
	}
	if replaced := o.markOwner(dir); marked && !replaced {
		return nil
	}
	o.waiting("the owner mark to be written")
	if err := sys.Unmount(dir); err != nil {
		return fmt.Errorf("unmount %s: %w", o.Name, err)
	}
	if err := mountOnce(sys, device, dir, v, o); err != nil {
		return err
	}
	return makeDirs(dir)
}

func mountOnce(sys System, device, dir string, v Volume, o VolumeOptions) error {
	o.waiting("its mount as " + v.Type)
	if err := sys.Mount(device, dir, v.Type, unix.MS_NOATIME, mountData[v.Type]); err != nil {
		return fmt.Errorf("mount %s (%s) on %s: %w%s", o.Name, v.Type, dir, err, mountHint(err))
	}
	return nil
}

func isDir(dir, name string) bool {
	info, err := os.Lstat(filepath.Join(dir, name))
	return err == nil && info.IsDir()
}

// unmount takes away what a failed mount may have left: a device whose
// reservation is given back must not be mounted.
func unmount(sys System, dir string) error {
	if err := sys.Unmount(dir); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: nothing is mounted there.
		return fmt.Errorf("rwlayer: unmount %s: %w", dir, err)
	}
	return nil
}

// reserveDevice reserves the device.
func reserveDevice(device string, o VolumeOptions) error {
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = reserve(deviceOf(f), o.Reserve, o.Takeover)
	if errors.Is(err, ErrNoReservations) || errors.Is(err, ErrNotPersistent) {
		o.Logf("%s: %v", o.Name, err)
		return nil
	}
	return err
}

// releaseDevice ends what reserveDevice began.
func releaseDevice(device string, key Key) error {
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		defer f.Close()
		err = Release(f, key)
	}
	if err != nil {
		return fmt.Errorf("rwlayer: release the reservation: %w", err)
	}
	return nil
}

// damaged tells whether a mount has found a file system damaged: a structure or a
// checksum is wrong (EFSCORRUPTED and EFSBADCRC in fs/ext4/ext4.h).
func damaged(err error) bool {
	return errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG)
}

func mountHint(err error) string {
	if damaged(err) {
		return ": the file system is damaged; repair it on its server (e2fsck -f, xfs_repair, btrfs check), while no node uses it"
	}
	if errors.Is(err, unix.EINVAL) {
		return ": the file system may have features that this kernel does not support; see the kernel log"
	}
	return ""
}

// mountData: an error in the file system is not to be written over.
var mountData = map[string]string{"ext4": "errors=remount-ro"}

// format makes an ext4 with the tree's own program, and reads it back from the
// disk. It discards nothing: what the proof did not read, it does not destroy.
func format(sys System, device, label string) (Volume, error) {
	o, status, err := sys.Run(nil, "/sbin/mkfs.ext4", "-q", "-E", "nodiscard", "-L", label, device)
	if err != nil {
		return Volume{}, fmt.Errorf("mkfs.ext4 of the tree: %w: install e2fsprogs in it", err)
	}
	if status != 0 {
		return Volume{}, fmt.Errorf("mkfs.ext4 exited with status %d: %s", status, o)
	}
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return Volume{}, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return Volume{}, fmt.Errorf("sync after mkfs.ext4: %w", err)
	}
	size, err := f.Seek(0, 2)
	if err != nil {
		return Volume{}, err
	}
	v, err := identify(f, size)
	if err != nil || v.Type != "ext4" {
		return v, fmt.Errorf("mkfs.ext4 exited 0, but no ext4 superblock was found: %w", err)
	}
	return v, nil
}

// What fsck(8) means with its exit status.
const (
	fsckClean     = 0
	fsckCorrected = 1
	fsckFailed    = 8 // Operational error.
)

// check runs the tree's fsck for the file system. XFS and btrfs replay their
// journals when they are mounted and have none to be run at boot.
func check(sys System, device string, v Volume, o VolumeOptions) error {
	if v.Type != "ext4" {
		return nil
	}
	o.waiting("its check by fsck")
	onLine := func(line string) {
		if text := fsckProgress(line); text != "" {
			o.waiting("its check by fsck, " + text)
		}
	}
	output, status, err := sys.Run(onLine, "/sbin/fsck.ext4", "-p", "-C", strconv.Itoa(ProgressFD), device)
	if err != nil {
		return fmt.Errorf("fsck.ext4 of the tree: %w: install e2fsprogs in it", err)
	}
	switch status {
	case fsckClean, fsckCorrected:
		return nil
	}
	if names := unsupportedFeatures(output); names != nil && status&fsckFailed != 0 {
		return &FeatureError{Name: o.Name, Features: names}
	}
	return &CheckError{Name: o.Name, Output: output, Status: status}
}
