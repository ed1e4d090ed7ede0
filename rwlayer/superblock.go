package rwlayer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/printable"
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
	return "it holds " + e.Found + ": it is not changed; give the node an empty volume, or erase this one yourself (wipefs -a, or fill it with zeros)"
}

// errUnknown means that no known signature was found.
var errUnknown = errors.New("no known signature")

// identify finds out what a device holds, by its beginning and its end. A
// *ForeignError is anything but exactly one file system of ours: also an old
// superblock of ours below something that contains others, such as a partition
// table, and two file systems at once. A device without any signature that we
// know is errUnknown, and may be blank or not.
func identify(r io.ReaderAt, size int64) (Volume, error) {
	d := &probe{r: r, size: size}
	ours, foreign := d.ours(), d.foreign()
	if len(ours)+len(foreign) == 0 {
		foreign = d.named(weakSignatures)
	}
	switch {
	case d.err != nil:
		return Volume{}, fmt.Errorf("read its content: %w", d.err)
	case len(foreign) > 0:
		for _, v := range ours {
			foreign = append(foreign, "an old "+v.Type+" below it")
		}
		return Volume{}, &ForeignError{Found: strings.Join(foreign, ", ")}
	case len(ours) > 1:
		return Volume{}, &ForeignError{Found: "both " + ours[0].String() + " and " + ours[1].String()}
	case len(ours) == 1:
		return ours[0], nil
	}
	return Volume{}, errUnknown
}

// names are the file systems of ours whose superblocks a device has, whatever
// else there is: by their label a disk is found that is looked at more closely
// later.
func names(r io.ReaderAt, size int64) ([]Volume, error) {
	d := &probe{r: r, size: size}
	return d.ours(), d.err
}

// A probe reads places of a device, each part of it once.
type probe struct {
	r     io.ReaderAt
	size  int64
	parts map[int64][]byte
	err   error
}

// partBytes is how much is read at once, aligned.
const partBytes = 64 << 10

// bytes are n bytes at offset, or nil where the device has none. What cannot be
// read sets err.
func (d *probe) bytes(offset, n int64) []byte {
	if d.err != nil || offset < 0 || offset > d.size-n {
		return nil
	}
	out := make([]byte, 0, n)
	for int64(len(out)) < n {
		from := offset + int64(len(out))
		begin := from - from%partBytes
		part := d.parts[begin]
		if part == nil {
			part = make([]byte, min(partBytes, d.size-begin))
			if _, err := io.ReadFull(io.NewSectionReader(d.r, begin, int64(len(part))), part); err != nil {
				d.err = fmt.Errorf("%d bytes at %d: %w", len(part), begin, err)
				return nil
			}
			if d.parts == nil {
				d.parts = make(map[int64][]byte)
			}
			d.parts[begin] = part
		}
		part = part[from-begin:]
		out = append(out, part[:min(int64(len(part)), n-int64(len(out)))]...)
	}
	return out
}

// place is where a signature's offset lies on the device.
func (d *probe) place(align, offset int32) int64 {
	if align == 0 {
		return int64(offset)
	}
	return int64(offset) + d.size - d.size%int64(align)
}

// ours are the file systems that can become /rw.
func (d *probe) ours() []Volume {
	var all []Volume
	for _, known := range []func(*probe) (Volume, bool){extVolume, xfsVolume, btrfsVolume} {
		if v, ok := known(d); ok {
			all = append(all, v)
		}
	}
	return all
}

// foreign names everything else, best first.
func (d *probe) foreign() []string {
	found := d.named(signatures)
	for _, s := range checkedSignatures {
		if b := d.bytes(d.place(s.align, s.place), 512); b != nil && s.check(b) {
			found = append(found, s.what)
		}
	}
	return found
}

func (d *probe) named(all []signature) []string {
	var found []string
	for _, s := range all {
		if d.has(s) && !slices.Contains(found, s.what) {
			found = append(found, s.what)
		}
	}
	return found
}

func (d *probe) has(s signature) bool {
	for i, offset := range s.places {
		if i > 0 && offset == 0 {
			break
		}
		for magic := range strings.SplitSeq(s.magics, "|") {
			if b := d.bytes(d.place(s.align, offset), int64(len(magic))); b != nil && string(b) == magic {
				return true
			}
		}
	}
	return false
}

func at(b []byte, offset int, magic string) bool {
	return string(b[offset:offset+len(magic)]) == magic
}

// extVolume reads an ext2, ext3 or ext4 superblock (Documentation/filesystems/
// ext4/super.rst). A journal that lies on a device of its own has one as well.
func extVolume(d *probe) (Volume, bool) {
	b := d.bytes(1024, 1024)
	if b == nil || !at(b, 0x38, "\x53\xef") || b[0x60]&incompatJournalDev != 0 {
		return Volume{}, false
	}
	return Volume{Type: "ext4", UUID: uuid(b[0x68:]), Label: label(b[0x78:0x88])}, true
}

const incompatJournalDev = 0x8

// xfsVolume reads the superblock of XFS (fs/xfs/libxfs/xfs_format.h).
func xfsVolume(d *probe) (Volume, bool) {
	b := d.bytes(0, 512)
	if b == nil || !at(b, 0, "XFSB") {
		return Volume{}, false
	}
	return Volume{Type: "xfs", UUID: uuid(b[32:]), Label: label(b[108:120])}, true
}

// btrfsVolume reads the first superblock of btrfs (fs/btrfs/accessors.h).
func btrfsVolume(d *probe) (Volume, bool) {
	b := d.bytes(0x10000, 0x1000)
	if b == nil || !at(b, 0x40, "_BHRfS_M") {
		return Volume{}, false
	}
	return Volume{Type: "btrfs", UUID: uuid(b[0x20:]), Label: label(b[0x12b:0x22b])}, true
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// label is a label up to its first NUL, as a terminal can show it.
func label(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return printable.Text(string(b))
}

// guid is a GPT's GUID as text: its first three fields are little endian
// (UEFI, appendix A).
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}
