package rwlayer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A System is what a volume needs of its surroundings.
type System interface {
	// Load loads a kernel module.
	Load(module string) error
	// Mount is mount(2).
	Mount(device, dir, fstype string, flags uintptr, data string) error
	// Run runs a program of the tree, in the tree, with /dev, and returns what
	// it said and its exit status.
	Run(argv ...string) (output string, status int, err error)
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
	// Label is given to a file system that is made.
	Label string
	// Name is what messages call the device; without it, its path.
	Name string
	Logf func(format string, args ...any)
	// Waiting, which may be nil, hears what is being waited for.
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
	return e.Name + " is blank: allow a file system to be made on it with sidus.mkfs=blank, or make one"
}

// A CheckError says that fsck did not find a file system clean and could not
// make it so.
type CheckError struct {
	Name, Output string
	Status       int
}

func (e *CheckError) Error() string {
	return fmt.Sprintf("%s: fsck.ext4 -p ended with status %d, errors are left: it is not mounted; run e2fsck -f on the volume where it lies, while no node uses it: %s",
		e.Name, e.Status, strings.TrimSpace(e.Output))
}

// Mount makes /rw of a block device: it reserves it, makes a file system where
// that is allowed and the device is proven blank, checks the file system with
// the tree's own program, mounts it on dir and makes the upper and the work
// directory. It returns what was mounted, and whether it was made just now.
func Mount(sys System, device, dir string, o VolumeOptions) (v Volume, made bool, err error) {
	if o.Name == "" {
		o.Name = device
	}
	o.waiting("to be opened")
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return v, false, fmt.Errorf("rwlayer: open the volume: %w", err)
	}
	defer f.Close()
	if o.Reserve != 0 {
		o.waiting("its reservation")
		err := Reserve(f, o.Reserve, o.Takeover)
		if errors.Is(err, ErrNoReservations) || errors.Is(err, ErrUnsaved) {
			o.Logf("%s: %v", o.Name, err)
		} else if err != nil {
			return v, false, fmt.Errorf("rwlayer: reserve %s: %w", o.Name, err)
		}
	}
	o.waiting("its superblock")
	size, err := f.Seek(0, 2)
	if err != nil {
		return v, false, fmt.Errorf("rwlayer: size of %s: %w", o.Name, err)
	}
	v, err = Identify(f, size)
	if errors.Is(err, errUnknown) {
		o.waiting("the proof that it is blank")
		if err := ProveBlank(f, size); err != nil {
			return v, false, fmt.Errorf("rwlayer: %s: %w", o.Name, err)
		}
		if !o.Format {
			return v, false, fmt.Errorf("rwlayer: %w", &BlankError{o.Name})
		}
		// mkfs wants the device for itself.
		f.Close()
		o.waiting("mkfs.ext4")
		v, err = format(sys, device, o.Label)
		made = err == nil
	}
	if err != nil {
		return v, made, fmt.Errorf("rwlayer: %s: %w", o.Name, err)
	}
	f.Close()
	if !made {
		o.waiting("its check by fsck")
		if err := check(sys, device, o.Name, v); err != nil {
			return v, made, fmt.Errorf("rwlayer: %w", err)
		}
	}
	if err := sys.Load(v.Type); err != nil {
		return v, made, fmt.Errorf("rwlayer: %s is %s: %w", o.Name, v.Type, err)
	}
	o.waiting("its mount as " + v.Type)
	if err := sys.Mount(device, dir, v.Type, unix.MS_NOATIME, mountData[v.Type]); err != nil {
		return v, made, fmt.Errorf("rwlayer: mount %s (%s) on %s: %w%s", o.Name, v.Type, dir, err, mountHint(err))
	}
	return v, made, makeDirs(dir)
}

func mountHint(err error) string {
	if errors.Is(err, unix.EUCLEAN) {
		return ": the file system is damaged; repair it where it lies (e2fsck -f, xfs_repair, btrfs check), while no node uses it"
	}
	return ""
}

// mountData: an error in the file system is not to be written over.
var mountData = map[string]string{"ext4": "errors=remount-ro"}

// format makes an ext4 with the tree's own program, and reads it back from the
// disk.
func format(sys System, device, label string) (Volume, error) {
	o, status, err := sys.Run("/sbin/mkfs.ext4", "-q", "-L", label, device)
	if err != nil {
		return Volume{}, fmt.Errorf("mkfs.ext4 of the tree: %w: install e2fsprogs in it", err)
	}
	if status != 0 {
		return Volume{}, fmt.Errorf("mkfs.ext4 ended with status %d: %s", status, o)
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
	v, err := Identify(f, size)
	if err != nil || v.Type != "ext4" {
		return v, fmt.Errorf("mkfs.ext4 said well done, but there is no ext4: %w", err)
	}
	return v, nil
}

// What fsck(8) means with its exit status.
const (
	fsckClean  = 0
	fsckMended = 1
)

// check runs the tree's fsck for the file system. XFS and btrfs replay their
// journals when they are mounted and have none to be run at boot.
func check(sys System, device, name string, v Volume) error {
	if v.Type != "ext4" {
		return nil
	}
	o, status, err := sys.Run("/sbin/fsck.ext4", "-p", device)
	if err != nil {
		return fmt.Errorf("fsck.ext4 of the tree: %w: install e2fsprogs in it", err)
	}
	switch status {
	case fsckClean, fsckMended:
		return nil
	}
	return &CheckError{Name: name, Output: o, Status: status}
}
