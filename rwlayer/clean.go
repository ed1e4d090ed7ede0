package rwlayer

import (
	"encoding/binary"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Fields of ext4's superblock (Documentation/filesystems/ext4/super.rst).
const (
	extLogBlockSize  = 0x18 // The size of a block is 1024 bytes, shifted by it.
	extMaxMountCount = 0x36 // Zero or negative: mounts are not counted.
	extState         = 0x3a
	extCheckInterval = 0x44
	extFeatures      = 0x5c // Three words: compatible, incompatible, read-only compatible.
	extLastOrphan    = 0xe8
	extJournalKind   = 0xfd  // s_jnl_backup_type: 1 if there is what follows.
	extJournalBlocks = 0x10c // s_jnl_blocks: i_block of the journal's inode.

	extStateClean = 1   // s_state, when it was unmounted and no error was found.
	extHasJournal = 0x4 // Compatible.
)

// Fields of a journal's superblock, big endian (Documentation/filesystems/ext4/journal.rst).
const (
	journalMagic = 0xc03b3998
	journalStart = 0x1c // Not zero: there are changes in it.
	journalErrno = 0x20 // Not zero: an error ended its use.
	journalBytes = 0x24
)

// usualFeatures are those that mke2fs of e2fsprogs 1.44 to 1.47 gives to an ext4
// by itself. A journal that has to be replayed, and files that were deleted while
// they were open, are features too, and not among them.
var usualFeatures = [3]uint32{
	extHasJournal | 0x8 | 0x10 | 0x20 | 0x1000,   // has_journal, ext_attr, resize_inode, dir_index, orphan_file
	0x2 | 0x40 | 0x80 | 0x200 | 0x2000,           // filetype, extent, 64bit, flex_bg, metadata_csum_seed
	0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x400, // sparse_super, large_file, huge_file, uninit_bg, dir_nlink, extra_isize, metadata_csum
}

// needsCheck tells whether e2fsck -p would do anything on an ext4 but say that it
// is clean (check_if_skip in e2fsck/unix.c). To load that program from the tree
// is half of the bytes that a boot with a volume fetches. Where it is
// not certain, it does. That the superblock differs from its backups is not
// looked for: the kernel does not read those.
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

// journalPlace is where a superblock says that the journal lies, in bytes; zero: it
// does not say it, or the journal lies on another device.
func journalPlace(superblock []byte) int64 {
	const (
		inExtents = 0xf30a // The magic number of a tree of extents.
		depth     = 6      // Where its header has its depth, and its first extent:
		logical   = 12     // the first block in the file,
		high, low = 18, 20 // and the block on the device.
		inode     = 0xe0   // s_journal_inum
	)
	le := binary.LittleEndian
	blocks, shift := superblock[extJournalBlocks:], le.Uint32(superblock[extLogBlockSize:])
	if superblock[extJournalKind] != 1 || le.Uint32(superblock[inode:]) == 0 || shift > 6 {
		return 0
	}
	block := int64(le.Uint32(blocks))
	if le.Uint16(blocks) == inExtents {
		if le.Uint16(blocks[depth:]) != 0 || le.Uint32(blocks[logical:]) != 0 {
			return 0
		}
		block = int64(le.Uint16(blocks[high:]))<<32 | int64(le.Uint32(blocks[low:]))
	}
	return block * extBlock << shift
}

// journalClean tells whether the journal's superblock has no error, and nothing to be
// replayed: e2fsck sees both, and a kernel that mounts the file system throws away
// what is in a journal of which the superblock does not say that it needs to be replayed.
func journalClean(r io.ReaderAt, superblock []byte) bool {
	if superblock[extFeatures]&extHasJournal == 0 {
		return true
	}
	place := journalPlace(superblock)
	b := make([]byte, journalBytes)
	if _, err := r.ReadAt(b, place); err != nil || place == 0 {
		return false
	}
	be := binary.BigEndian
	return be.Uint32(b) == journalMagic && be.Uint32(b[journalStart:]) == 0 && be.Uint32(b[journalErrno:]) == 0
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
	return err == nil && v.Type == "ext4" && !needsCheck(superblock) && journalClean(f, superblock)
}
