package rwlayer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Volume is what a superblock says about a file system.
type Volume struct {
	// Type is the kernel's name: "ext4" (which mounts ext2 and ext3 too), "xfs"
	// or "btrfs".
	Type string
	// UUID is in lower case with dashes.
	UUID  string
	Label string
}

func (v Volume) String() string {
	label := "without a label"
	if v.Label != "" {
		label = fmt.Sprintf("labelled %q", v.Label)
	}
	return fmt.Sprintf("the file system %s %s, UUID %s,", v.Type, label, v.UUID)
}

// A ForeignError says that a device holds something that is none of our file
// systems. It is never formatted.
type ForeignError struct {
	// Found says what it looks like.
	Found string
}

func (e *ForeignError) Error() string {
	return "it holds " + e.Found + ": it is left untouched; give the node an empty volume, or wipe this one yourself (wipefs -a, or zero it)"
}

// superblocks is how far into a device the superblocks lie that are looked at.
const superblocks = 0x10000 + 0x1000

// errUnknown means that no known signature was found.
var errUnknown = errors.New("no known signature")

// Identify reads the superblocks of a device. A device that holds something
// else is a *ForeignError; one without any signature that we know is
// errUnknown, and may be blank or not.
func Identify(r io.ReaderAt, size int64) (Volume, error) {
	b := make([]byte, superblocks) // Zeros beyond the end of a small device.
	if _, err := r.ReadAt(b[:min(superblocks, size)], 0); err != nil && !errors.Is(err, io.EOF) {
		return Volume{}, fmt.Errorf("read the superblock: %w", err)
	}
	for _, s := range containers {
		if at(b, s.offset, s.magic) {
			return Volume{}, &ForeignError{Found: s.what}
		}
	}
	for _, known := range []func([]byte) (Volume, bool){extVolume, xfsVolume, btrfsVolume} {
		if v, ok := known(b); ok {
			return v, nil
		}
	}
	for _, s := range signatures {
		if at(b, s.offset, s.magic) {
			return Volume{}, &ForeignError{Found: s.what}
		}
	}
	return Volume{}, errUnknown
}

func at(b []byte, offset int, magic string) bool {
	return string(b[offset:offset+len(magic)]) == magic
}

// A signature names what a volume may hold instead of a file system of ours.
type signature struct {
	offset int
	magic  string
	what   string
}

// containers are what may lie over an old superblock without touching it: the
// file system that this belonged to is gone.
var containers = []signature{
	{512, "EFI PART", "a GPT partition table"},
	{4096, "EFI PART", "a GPT partition table (4096-byte sectors)"},
	{0, "LUKS\xba\xbe", "a LUKS volume"},
	{0, "LABELONE", "an LVM physical volume"},
	{512, "LABELONE", "an LVM physical volume"},
	{1024, "LABELONE", "an LVM physical volume"},
	{1536, "LABELONE", "an LVM physical volume"},
	{0, "\xfc\x4e\x2b\xa9", "a member of an md RAID"},
	{4096, "\xfc\x4e\x2b\xa9", "a member of an md RAID"},
}

// signatures are here to name the rest: what is not known is not formatted
// either, unless it is blank.
var signatures = []signature{
	{4086, "SWAPSPACE2", "swap space"},
	{4086, "SWAP-SPACE", "swap space"},
	{0, "hsqs", "a squashfs"},
	{32769, "CD001", "an ISO 9660 file system"},
	{1024, "\x10\x20\xf5\xf2", "an f2fs"},
	{0x1018, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca", "a bcachefs or bcache device"},
	{3, "NTFS    ", "an NTFS"},
	{3, "EXFAT   ", "an exFAT"},
	{82, "FAT32   ", "a FAT file system"},
	{54, "FAT", "a FAT file system"},
	// Last, because boot sectors of file systems end like it too.
	{510, "\x55\xaa", "a partition table (MBR)"},
}

// extVolume reads an ext2, ext3 or ext4 superblock (Documentation/filesystems/
// ext4/super.rst).
func extVolume(b []byte) (Volume, bool) {
	const base = 1024
	if !at(b, base+0x38, "\x53\xef") {
		return Volume{}, false
	}
	return Volume{Type: "ext4", UUID: uuid(b[base+0x68:]), Label: label(b[base+0x78 : base+0x88])}, true
}

// xfsVolume reads the superblock of XFS (fs/xfs/libxfs/xfs_format.h).
func xfsVolume(b []byte) (Volume, bool) {
	if !at(b, 0, "XFSB") {
		return Volume{}, false
	}
	return Volume{Type: "xfs", UUID: uuid(b[32:]), Label: label(b[108:120])}, true
}

// btrfsVolume reads the first superblock of btrfs (fs/btrfs/accessors.h).
func btrfsVolume(b []byte) (Volume, bool) {
	const base = 0x10000
	if !at(b, base+0x40, "_BHRfS_M") {
		return Volume{}, false
	}
	return Volume{Type: "btrfs", UUID: uuid(b[base+0x20:]), Label: label(b[base+0x12b : base+0x22b])}, true
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// label is a label up to its first NUL, without what a terminal would act on.
func label(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, string(b))
}

// guid is a GPT's GUID as text: its first three fields are little endian
// (UEFI, appendix A).
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}
