package rwlayer

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Fields of ext4's superblock (Documentation/filesystems/ext4/super.rst).
const (
	extMaxMountCount = 0x36 // Zero or negative: mounts are not counted.
	extState         = 0x3a
	extCheckInterval = 0x44
	extFeatures      = 0x5c // Three words: compatible, incompatible, read-only compatible.
	extLastOrphan    = 0xe8

	extStateClean = 1 // s_state, when it was unmounted and no error was found.
)

// usualFeatures are those that mke2fs of e2fsprogs 1.44 to 1.47 gives to an ext4
// by itself. A journal that has to be replayed, and files that were deleted while
// they were open, are features too, and not among them.
var usualFeatures = [3]uint32{
	0x4 | 0x8 | 0x10 | 0x20 | 0x1000,             // has_journal, ext_attr, resize_inode, dir_index, orphan_file
	0x2 | 0x40 | 0x80 | 0x200 | 0x2000,           // filetype, extent, 64bit, flex_bg, metadata_csum_seed
	0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x400, // sparse_super, large_file, huge_file, uninit_bg, dir_nlink, extra_isize, metadata_csum
}

// needsCheck tells whether e2fsck -p would do anything on an ext4 but say that it
// is clean (check_if_skip in e2fsck/unix.c). To load that program from the tree
// takes a boot longer than everything else that it does to a volume. Where it is
// not certain, it does.
func needsCheck(superblock []byte) bool {
	le := binary.LittleEndian
	if le.Uint16(superblock[extState:]) != extStateClean || le.Uint32(superblock[extLastOrphan:]) != 0 || le.Uint32(superblock[extCheckInterval:]) != 0 {
		return true
	}
	if limit := int16(le.Uint16(superblock[extMaxMountCount:])); limit > 0 && le.Uint16(superblock[extMountCount:]) >= uint16(limit) {
		return true
	}
	for i, usual := range usualFeatures {
		if le.Uint32(superblock[extFeatures+4*i:])&^usual != 0 {
			return true
		}
	}
	return false
}

// clean tells whether the file system on a device needs no check. One that cannot
// be read does.
func clean(device string, v Volume) bool {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	superblock := make([]byte, extBlock)
	_, err = f.ReadAt(superblock, extBlock)
	return err == nil && v.Type == "ext4" && !needsCheck(superblock)
}
