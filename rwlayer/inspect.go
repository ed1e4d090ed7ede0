package rwlayer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/printable"
)

// A finding is what was found on a device that may become /rw: a file system of
// this node's own, or nothing at all.
type finding struct {
	Volume
	// blank says that it is proven blank.
	blank bool
}

// inspect finds out what is on a device and whose that is. It writes nothing, and
// reserves nothing: a device that this node was pointed at by mistake stays
// another's. What is not this node's own is an error.
func inspect(sys System, device string, o VolumeOptions) (finding, error) {
	o.waiting("the device to open")
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return finding{}, fmt.Errorf("open the volume: %w", err)
	}
	defer f.Close()
	o.waiting("its superblock")
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return finding{}, fmt.Errorf("size of %s: %w", o.Name, err)
	}
	v, err := identify(f, size)
	if errors.Is(err, errUnknown) {
		if err := o.proveBlank(f, size); err != nil {
			return finding{}, fmt.Errorf("%s: %w", o.Name, err)
		}
		if !o.Format {
			return finding{}, &BlankError{o.Name}
		}
		return finding{blank: true}, nil
	}
	if errors.Is(err, unix.EBADE) { // What the kernel makes of a reservation conflict.
		return finding{}, fmt.Errorf("%w (and %s cannot be read: %w)", &HeldError{Own: o.Reserve}, o.Name, err)
	}
	if err != nil {
		return finding{}, fmt.Errorf("%s: %w", o.Name, err)
	}
	if o.adopted(v) || o.labelled(v) && o.Place == "" {
		return finding{Volume: v}, nil
	}
	if o.Reserve != 0 {
		// A file system that another node has mounted is not looked into: it
		// changes meanwhile.
		if err := CheckHolder(sgDevice{f}, o.Reserve, o.Takeover); err != nil {
			return finding{}, err
		}
	}
	// A mount wants the device for itself.
	f.Close()
	o.waiting("its " + v.Type + " to be read, to find its owner")
	return finding{Volume: v}, inspectContents(sys, device, v, o)
}

// proveBlank is proveBlank with what the target says that it stores.
func (o VolumeOptions) proveBlank(f *os.File, size int64) error {
	const what = "the proof that it is blank"
	o.waiting(what)
	var mapped []extent
	if size > fullBytes {
		var err error
		if mapped, err = mappedExtents(deviceOf(f), size); err != nil {
			o.waiting(what + ", by samples")
		}
	}
	said := int64(-1)
	return proveBlank(f, size, mapped, func(done, total int64) {
		if percent := 100 * done / total; percent != said {
			o.waiting(fmt.Sprintf("%s, %d%% read", what, percent))
			said = percent
		}
	})
}

// labelled tells whether a file system has the label that nodes give to theirs.
func (o VolumeOptions) labelled(v Volume) bool { return v.Label == o.Label && o.Label != "" }

// adopted tells whether a file system is this node's by a parameter.
func (o VolumeOptions) adopted(v Volume) bool {
	return slices.ContainsFunc(o.Adopt, func(name string) bool {
		return name != "" && (name == v.Label || strings.EqualFold(name, v.UUID))
	})
}

// inspectAgain makes sure, under the reservation, that a device still is what was
// found. Of a blank one the beginning and the end are read again, where a file
// system that was made meanwhile would show.
func inspectAgain(device string, o VolumeOptions, found finding) error {
	o.waiting("its superblock, under the reservation")
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the volume: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("size of %s: %w", o.Name, err)
	}
	v, err := identify(f, size)
	if errors.Is(err, errUnknown) && found.blank {
		b := make([]byte, min(size, chunkBytes))
		err = zeros(f, 0, b)
		if err == nil {
			err = zeros(f, size-int64(len(b)), b)
		}
	} else if err == nil && (found.blank || v != found.Volume) {
		err = fmt.Errorf("it has changed since it was inspected, now it has %s: it is not changed", v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	return nil
}

// inspectData are the mount options that keep a journal from being replayed, and
// replayData those with which it is replayed. An ext4 may have been told to let the
// kernel panic at an error that is found in it; a btrfs may have a default
// subvolume that hides the rest of it.
var (
	inspectData = map[string]string{"ext4": "noload,errors=continue", "xfs": "norecovery", "btrfs": "rescue=nologreplay"}
	replayData  = map[string]string{"ext4": "errors=continue", "btrfs": "subvolid=5"}
)

// inspectFlags: no program of a foreign file system is run.
const inspectFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME

// lostFound is what mkfs.ext4 makes in an empty file system.
const lostFound = "lost+found"

// inspectContents mounts a file system read-only to find out whose it is. A node's own has
// its label or the directories of a union, and it was this node's, or was had from
// this place, where it tells; one that is empty has no owner, and is taken
// (unmarked). Any other is an *UnknownOwnerError.
//
// The device is made read-only for that: ext4 ends deletions that a crash cut
// short even in a read-only mount with noload (ext4_orphan_cleanup in
// fs/ext4/orphan.c), unless the device cannot be written.
func inspectContents(sys System, device string, v Volume, o VolumeOptions) (err error) {
	if err := sys.Load(v.Type); err != nil {
		return fmt.Errorf("%s is %s: %w", o.Name, v.Type, err)
	}
	if err := sys.SetReadOnly(device, true); err != nil {
		return fmt.Errorf("make %s read-only to read its root directory: %w", o.Name, err)
	}
	defer func() { err = errors.Join(err, sys.SetReadOnly(device, false)) }()
	others := &UnknownOwnerError{Name: o.Name, Volume: v}
	var had owner
	var known bool
	others.Entries, err = entries(sys, device, v.Type, inspectData[v.Type], o.InspectDir, func() { had, known = readOwner(o.InspectDir) })
	known = known && o.Place != ""
	switch {
	case err != nil && o.labelled(v):
		return nil // fsck reports what is wrong with it.
	case err != nil:
		others.Err = err
		return others
	case known && !o.fits(had):
		others.Err = &OwnerError{Key: had.key, Place: had.place, Own: o.Reserve}
		return others
	case o.labelled(v):
		return nil
	case slices.Contains(others.Entries, Upper+"/") && slices.Contains(others.Entries, Work+"/") && (known || !isOpenWrt(others.Entries)):
		return nil
	}
	if others.Entries = slices.DeleteFunc(others.Entries, isLostFound); len(others.Entries) > 0 {
		return others
	}
	// Is it empty, or is what was written last still in its journal? A journal
	// that has to be replayed cannot be on a read-only device, and the mount is
	// refused.
	others.Entries, err = entries(sys, device, v.Type, replayData[v.Type], o.InspectDir, func() {})
	if err != nil {
		others.Err = fmt.Errorf("it looks empty, but its journal may hold files: %w", err)
		return others
	}
	if others.Entries = slices.DeleteFunc(others.Entries, isLostFound); len(others.Entries) > 0 {
		return others
	}
	return nil
}

func isLostFound(name string) bool { return name == lostFound+"/" }

// openWrtMarks are what OpenWrt leaves on a disk that it uses as its overlay
// (block.c and overlay.c of its fstools), where it has the directories upper and
// work too.
var openWrtMarks = []string{"etc/.extroot-uuid", ".fs_state"}

func isOpenWrt(names []string) bool {
	return slices.ContainsFunc(openWrtMarks, func(mark string) bool { return slices.Contains(names, mark) })
}

// maxEntries is how many names of a root directory are read.
const maxEntries = 1000

// entries are the names in a file system's root, those of directories with a
// slash. whileMounted is called before they are read.
func entries(sys System, device, fstype, data, dir string, whileMounted func()) (names []string, err error) {
	if err := sys.Mount(device, dir, fstype, inspectFlags, data); err != nil {
		return nil, fmt.Errorf("mount it read-only: %w%s", err, mountHint(err))
	}
	defer func() { err = errors.Join(err, sys.Unmount(dir)) }()
	whileMounted()
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := f.ReadDir(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read its root directory: %w", err)
	}
	for _, e := range found {
		name := e.Name()
		if name == ownerFile { // It has been looked at.
			continue
		}
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	// The two that matter, where they come after a thousand others.
	for _, name := range []string{Upper, Work} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && info.IsDir() && !slices.Contains(names, name+"/") {
			names = append(names, name+"/")
		}
	}
	// A link would lead out of it.
	if info, err := os.Lstat(filepath.Join(dir, "etc")); err == nil && info.IsDir() {
		if _, err := os.Lstat(filepath.Join(dir, openWrtMarks[0])); err == nil {
			names = append(names, openWrtMarks[0])
		}
	}
	// What fsck has saved may be all that is left of a user's files.
	if slices.ContainsFunc(names, isLostFound) {
		saved, err := os.ReadDir(filepath.Join(dir, lostFound))
		if err != nil {
			return nil, fmt.Errorf("read its %s: %w", lostFound, err)
		}
		for _, e := range saved[:min(len(saved), maxEntries)] {
			names = append(names, lostFound+"/"+e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// An UnknownOwnerError says that a file system is not known to be this node's own. It
// was not written to, nor checked.
type UnknownOwnerError struct {
	// Name is the device's, for messages.
	Name string
	Volume
	// Entries are the names in its root, directories with a slash.
	Entries []string
	// Err, which may be nil, says why it could not be looked into.
	Err error
}

// maxNamed is how many names an error tells.
const maxNamed = 6

func (e *UnknownOwnerError) Error() string {
	what := ": "
	switch {
	case e.Err != nil:
		what += e.Err.Error()
	default:
		what += "there is " + strings.Join(printableAll(e.Entries[:min(len(e.Entries), maxNamed)]), ", ")
		if len(e.Entries) > maxNamed {
			what += ", …"
		}
		what += " in it"
	}
	return fmt.Sprintf("%s holds %s that is not known to be this node's own%s: it is not changed; give the node an empty volume, or, to use this one, choose it by its label or UUID",
		e.Name, e.Volume, what)
}

func (e *UnknownOwnerError) Unwrap() error { return e.Err }

func printableAll(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, printable.Text(name))
	}
	return all
}
