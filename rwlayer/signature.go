package rwlayer

import "encoding/binary"

// A signature names what a device may hold instead of a file system of ours. It
// is there when one of the magics is at one of the places.
type signature struct {
	what string
	// align is zero for places that count from the beginning. Others count from
	// the end, rounded down to a multiple of it.
	align  int64
	places []int64
	magics []string
}

// signatures are all that libblkid 2.42 knows (libblkid/src/superblocks and
// partitions of util-linux), and a few more, unless their magic is so short that
// a field of one of our superblocks may look like it: see weakSignatures.
//
// The first ones contain others: they may lie over the superblock of an older
// file system without touching it.
var signatures = []signature{
	{"a GPT partition table", 0, []int64{512, 4096}, []string{"EFI PART"}},
	{"an AIX disk", 0, []int64{0}, []string{"\xc9\xc2\xd4\xc1"}},
	{"an SGI partition table", 0, []int64{0}, []string{"\x0b\xe5\xa9\x41"}},
	{"a BSD disklabel", 0, []int64{64, 128, 512}, []string{"\x57\x45\x56\x82"}},
	{"an Amiga partition table", 0, []int64{0, 512}, []string{"RDSK"}},
	{"an Ultrix partition table", 0, []int64{16312}, []string{"\x57\x29\x03\x00\x01\x00\x00\x00"}},
	{"a DASD volume label", 0, []int64{2052, 4100, 8196}, []string{"\xe5\xd6\xd3\xf1"}},
	{"an Atari partition table", 0, []int64{0x1c7, 0x1d3, 0x1df, 0x1eb}, []string{"GEM", "BGM", "XGM", "LNX", "SWP", "RAW"}},

	{"a LUKS volume", 0, []int64{0}, []string{"LUKS\xba\xbe"}},
	{"a BitLocker volume", 0, []int64{3}, []string{"-FVE-FS-"}},
	{"a dm-verity hash device", 0, []int64{0}, []string{"verity\x00\x00"}},
	{"a dm-integrity device", 0, []int64{0}, []string{"integrt\x00"}},
	{"the copy-on-write store of a snapshot", 0, []int64{0}, []string{"SnAp"}},
	{"a VDO volume", 0, []int64{0}, []string{"dmvdo001"}},
	{"an LVM physical volume", 0, []int64{0, 512, 1024, 1536}, []string{"LABELONE"}},
	{"an LVM1 physical volume", 0, []int64{0}, []string{"HM\x01\x00", "HM\x02\x00"}},
	{"a Stratis block device", 0, []int64{516, 4612}, []string{"!Stra0tis\x86\xff\x02^\x41rh"}},
	{"a Ceph block device", 0, []int64{0}, []string{"bluestore block device"}},
	{"an Oracle ASM disk", 0, []int64{32}, []string{"ORCLDISK"}},
	{"a VMFS volume", 0, []int64{1 << 20, 2 << 20}, []string{"\x0d\xd0\x01\xc0", "\x5e\xf1\xab\x2f"}},
	{"a bcache or bcachefs device", 0, []int64{4096 + 24, 2<<20 + 24}, []string{bcacheMagic, bcachefsMagic}},
	{"a bcachefs device", 1024, []int64{-1<<20 + 24}, []string{bcachefsMagic}},
	{"a member of a ZFS pool", 0, []int64{16404, 256<<10 + 16404}, []string{zfsMagic}},
	{"a member of a ZFS pool", 256 << 10, []int64{-512<<10 + 16404, -256<<10 + 16404}, []string{zfsMagic}},

	{"a member of an md RAID", 0, []int64{0, 4096}, []string{md1Magic}},
	{"a member of an md RAID (metadata 1.0, at the end)", 4096, []int64{-8192}, []string{md1Magic}},
	// With the major and the minor version, in the byte order of its machine.
	{"a member of an md RAID (metadata 0.90, at the end)", 65536, []int64{-65536}, []string{
		"\xfc\x4e\x2b\xa9\x00\x00\x00\x00\x5a\x00\x00\x00", "\xfc\x4e\x2b\xa9\x00\x00\x00\x00\x5b\x00\x00\x00",
		"\xa9\x2b\x4e\xfc\x00\x00\x00\x00\x00\x00\x00\x5a", "\xa9\x2b\x4e\xfc\x00\x00\x00\x00\x00\x00\x00\x5b",
	}},
	// The second place is that of a fixed size (DRBD_MD_INDEX_INTERNAL).
	{"a DRBD device", 4096, []int64{-4096 + 60, -128<<20 + 60}, []string{"\x83\x74\x02\x6b", "\x83\x74\x02\x6c", "\x83\x74\x02\x6d"}},
	{"a DRBD control volume", 0, []int64{0}, []string{"$DRBDmgr=q", "DRBDdlh*"}},
	{"a member of a BIOS RAID (DDF)", 512, []int64{-512, -257 * 512}, []string{"\xde\x11\xde\x11"}},
	{"a member of a BIOS RAID (Intel)", 512, []int64{-1024}, []string{"Intel Raid ISM Cfg Sig. "}},
	{"a member of a BIOS RAID (Intel)", 4096, []int64{-8192}, []string{"Intel Raid ISM Cfg Sig. "}},
	{"a member of a BIOS RAID (LSI)", 512, []int64{-512}, []string{"$XIDE$"}},
	{"a member of a BIOS RAID (NVIDIA)", 512, []int64{-1024}, []string{"NVIDIA  "}},
	{"a member of a BIOS RAID (Promise)", 512, promisePlaces, []string{"Promise Technology, Inc."}},
	{"a member of a BIOS RAID (HighPoint)", 0, []int64{4096 + 544}, []string{"\xf0\x16\x78\x5a", "\xfd\x16\x78\x5a"}},
	{"a member of a BIOS RAID (HighPoint)", 512, []int64{-11 * 512}, []string{"\xf3\x16\x78\x5a", "\xfd\x16\x78\x5a"}},
	{"a member of a BIOS RAID (Adaptec)", 512, []int64{-512}, []string{"\x37\xfc\x4d\x1e"}},

	{"swap space", 0, []int64{0xff6, 0x1ff6, 0x3ff6, 0x7ff6, 0xfff6}, []string{"SWAPSPACE2", "SWAP-SPACE"}},
	{"a suspended system", 0, []int64{0xff6, 0x1ff6, 0x3ff6, 0x7ff6, 0xfff6}, []string{"S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"}},
	{"a suspended system", 0, []int64{0}, []string{"\xed\xc3\x02\xe9\x98\x56\xe5\x0c"}},
	{"a squashfs", 0, []int64{0}, []string{"hsqs", "sqsh"}},
	{"a cramfs", 0, []int64{0}, []string{"\x45\x3d\xcd\x28", "\x28\xcd\x3d\x45"}},
	{"a romfs", 0, []int64{0}, []string{"-rom1fs-"}},
	{"an NTFS", 0, []int64{3}, []string{"NTFS    "}},
	{"an exFAT", 0, []int64{3}, []string{"EXFAT   "}},
	{"a ReFS", 0, []int64{0}, []string{"\x00\x00\x00ReFS\x00"}},
	{"a FAT file system", 0, []int64{54}, []string{"FAT12   ", "FAT16   ", "FAT     ", "MSDOS"}},
	{"a FAT file system", 0, []int64{82}, []string{"FAT32   ", "MSWIN"}},
	{"an ISO 9660 or UDF file system", 0, []int64{32769}, []string{"CD001", "BEA01", "BOOT2", "CDW02", "NSR02", "NSR03", "TEA01"}},
	{"an ISO 9660 file system", 0, []int64{32777}, []string{"CDROM"}},
	{"an APFS", 0, []int64{32}, []string{"NXSB"}},
	{"a JFS", 0, []int64{32768}, []string{"JFS1"}},
	{"a ReiserFS", 0, []int64{8192 + 0x34, 65536 + 0x34, 8192 + 20}, []string{"ReIsErFs", "ReIsEr2Fs", "ReIsEr3Fs"}},
	{"a Reiser4", 0, []int64{65536}, []string{"ReIsEr4"}},
	{"a GFS", 0, []int64{65536}, []string{"\x01\x16\x19\x70"}},
	{"a ScoutFS", 0, []int64{65536 + 4}, []string{"\x8b\x42\x3c\x10"}},
	{"an OCFS2", 0, []int64{2048, 4096, 8192}, []string{"OCFSV2"}},
	{"an OCFS", 0, []int64{8192}, []string{"OracleCFS"}},
	{"a UFS", 0, ufsPlaces, []string{
		"\x19\x01\x54\x19", "\x54\x19\x01\x00", "\x12\x56\x19\x00", "\x14\x50\x09\x00", "\x95\x21\x61\x00", "\x94\x19\x23\x05",
		"\x19\x54\x01\x19", "\x00\x01\x19\x54", "\x00\x19\x56\x12", "\x00\x09\x50\x14", "\x00\x61\x21\x95", "\x05\x23\x19\x94",
	}},
	{"an HPFS", 0, []int64{8192}, []string{"\x49\xe8\x95\xf9"}},
	{"a System V file system", 0, []int64{512 + 504, 9*1024 + 512 + 504, 15*1024 + 512 + 504, 18*1024 + 512 + 504}, []string{"\x20\x7e\x18\xfd", "\xfd\x18\x7e\x20"}},
	{"a VxFS", 0, []int64{8192}, []string{"\xa5\x01\xfc\xf5"}},
	{"a NetWare volume", 0, []int64{4096}, []string{"SPB5"}},
	{"a BFS", 0, []int64{0}, []string{"\xce\xfa\xad\x1b"}},
	{"a BeFS", 0, []int64{32, 512 + 32}, []string{"BFS1", "1SFB"}},
	{"an Exanodes file system", 0, []int64{0}, []string{"EXFS"}},
	{"a UBI or UBIFS image", 0, []int64{0}, []string{"UBI#", "\x31\x18\x10\x06"}},
	{"an mpool", 0, []int64{0}, []string{"mpoolDev"}},
	{"a zonefs", 0, []int64{0}, []string{"SFOZ"}},
}

const (
	md1Magic      = "\xfc\x4e\x2b\xa9\x01\x00\x00\x00" // With the major version.
	bcacheMagic   = "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"
	bcachefsMagic = "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"
	// zfsMagic is the name of the first pair in a label (vdev_label.c).
	zfsMagic = "\x00\x00\x00\x07version\x00"
)

var (
	promisePlaces = []int64{-63 * 512, -255 * 512, -256 * 512, -16 * 512, -399 * 512, -591 * 512, -675 * 512, -735 * 512, -911 * 512,
		-974 * 512, -991 * 512, -951 * 512, -3087 * 512}
	// The magic is at 0x55c of a superblock at 0, 8, 64 or 256 KiB.
	ufsPlaces = []int64{0x55c, 8<<10 + 0x55c, 64<<10 + 0x55c, 256<<10 + 0x55c}
)

// weakSignatures are short, or lie where one of our superblocks has fields of its
// own, or are what is left of something older: they name what is there only
// where there is nothing else.
var weakSignatures = []signature{
	{"an HFS or HFS+", 0, []int64{1024}, []string{"BD", "H+", "HX"}},
	{"a Minix file system", 0, []int64{1040}, []string{"\x7f\x13", "\x8f\x13", "\x13\x7f", "\x13\x8f", "\x68\x24", "\x78\x24", "\x24\x68", "\x24\x78"}},
	{"a Minix file system", 0, []int64{1048}, []string{"\x5a\x4d", "\x4d\x5a"}},
	{"a NILFS2", 0, []int64{1030}, []string{"\x34\x34"}},
	{"a NILFS2", 4096, []int64{-4096 + 6}, []string{"\x34\x34"}},
	{"an f2fs", 0, []int64{1024}, []string{"\x10\x20\xf5\xf2"}},
	{"an EROFS", 0, []int64{1024}, []string{"\xe2\xe1\xf5\xe0"}},
	{"an OCFS2", 0, []int64{1024}, []string{"OCFSV2"}},
	{"a VxFS", 0, []int64{1024}, []string{"\xf5\xfc\x01\xa5"}},
	{"a Xenix file system", 0, []int64{2048}, []string{"\x2b\x55\x44", "\x44\x55\x2b"}},
	{"a FileVault volume", 0, []int64{88}, []string{"CS"}},
	{"a journal of ext4", 0, []int64{1024 + 0x38}, []string{"\x53\xef"}},
	{"the log of an XFS", 0, []int64{0, 512, 1024, 1536, 2048, 4096}, []string{"\xfe\xed\xba\xbe"}},
	{"the second header of a LUKS volume", 0, []int64{0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000}, []string{"SKUL\xba\xbe"}},
	{"the second superblock of a btrfs", 0, []int64{64<<20 + 0x40}, []string{"_BHRfS_M"}},
	{"the spare copy of a GPT partition table", 512, []int64{-512}, []string{"EFI PART"}},
	{"the spare copy of a GPT partition table", 4096, []int64{-4096}, []string{"EFI PART"}},
	// Boot sectors of file systems end like it.
	{"an empty partition table (MBR), or a boot sector", 0, []int64{510}, []string{"\x55\xaa"}},
}

// checkedSignatures are short too, but bear a checksum.
var checkedSignatures = []struct {
	what  string
	align int64
	place int64
	check func(sector []byte) bool
}{
	{"a partition table (MBR)", 0, 0, isMBR},
	{"a Sun disklabel", 0, 0, isSun},
	{"a Mac partition table", 0, 0, isMac},
	{"a member of a BIOS RAID (VIA)", 512, -512, isVIA},
	{"a member of a BIOS RAID (Silicon Image)", 512, -512, isSilicon},
	{"a member of a BIOS RAID (JMicron)", 512, -512, isJMicron},
}

// isMBR tells whether a sector has a partition table in which there is anything.
// An empty one, or none, may be the boot sector of a file system; a table of
// one of ours is empty.
func isMBR(b []byte) bool {
	return at(b, 510, "\x55\xaa") && firstByte(b[446:510]) >= 0 && !at(b, 3, "NTFS    ") && !at(b, 3, "EXFAT   ") && !at(b, 3, "-FVE-FS-") &&
		!at(b, 54, "FAT") && !at(b, 82, "FAT")
}

func isSun(b []byte) bool {
	var sum uint16
	for i := 0; i < 512; i += 2 {
		sum ^= binary.BigEndian.Uint16(b[i:])
	}
	return at(b, 508, "\xda\xbe") && sum == 0
}

// isMac looks at the driver descriptor; the map itself is in the next block.
func isMac(b []byte) bool {
	block := binary.BigEndian.Uint16(b[2:])
	return at(b, 0, "ER") && block >= 512 && block%512 == 0
}

func isVIA(b []byte) bool {
	var sum byte
	for _, c := range b[:50] {
		sum += c
	}
	return at(b, 0, "\x55\xaa") && b[2] <= 2 && sum == b[50]
}

func isSilicon(b []byte) bool {
	const checksum = 0x13e
	var sum uint16
	for i := 0; i < checksum; i += 2 {
		sum += binary.LittleEndian.Uint16(b[i:])
	}
	return at(b, 0x60, "\x00\x00\x00\x2f") && b[0x116] < 8 && -sum == binary.LittleEndian.Uint16(b[checksum:])
}

func isJMicron(b []byte) bool {
	var sum uint16
	for i := 0; i < 0x7e; i += 2 {
		sum += binary.LittleEndian.Uint16(b[i:])
	}
	return at(b, 0, "JM") && (sum == 0 || sum == 1) && b[0x2e] <= 5
}
