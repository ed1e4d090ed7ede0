package rwlayer

import "encoding/binary"

// A signature names what a device may hold instead of a file system of ours. It
// is there when one of the magics is at one of the places.
type signature struct {
	what string
	// align is zero for places that count from the beginning. Others count from
	// the end, rounded down to a multiple of it.
	align int32
	// places end with the array or with a zero that is not the first.
	places [5]int32
	// magics are separated by bars, which none of them has.
	magics string
}

// signatures are all that libblkid 2.42 knows (libblkid/src/superblocks and
// partitions of util-linux), and a few more, unless their magic is so short that
// a field of one of our superblocks may look like it: see weakSignatures.
//
// The first ones contain others: they may lie over the superblock of an older
// file system without touching it.
var signatures = []signature{
	{"a GPT partition table", 0, [5]int32{512, 4096}, "EFI PART"},
	{"an AIX disk", 0, [5]int32{0}, "\xc9\xc2\xd4\xc1"},
	{"an SGI partition table", 0, [5]int32{0}, "\x0b\xe5\xa9\x41"},
	{"a BSD disklabel", 0, [5]int32{64, 128, 512}, "\x57\x45\x56\x82"},
	{"an Amiga partition table", 0, [5]int32{0, 512}, "RDSK"},
	{"an Ultrix partition table", 0, [5]int32{16312}, "\x57\x29\x03\x00\x01\x00\x00\x00"},
	{"a DASD volume label", 0, [5]int32{2052, 4100, 8196}, "\xe5\xd6\xd3\xf1"},
	{"an Atari partition table", 0, [5]int32{0x1c7, 0x1d3, 0x1df, 0x1eb}, "GEM|BGM|XGM|LNX|SWP|RAW"},

	{"a LUKS volume", 0, [5]int32{0}, "LUKS\xba\xbe"},
	{"a BitLocker volume", 0, [5]int32{3}, "-FVE-FS-"},
	{"a dm-verity hash device", 0, [5]int32{0}, "verity\x00\x00"},
	{"a dm-integrity device", 0, [5]int32{0}, "integrt\x00"},
	{"the copy-on-write store of a snapshot", 0, [5]int32{0}, "SnAp"},
	{"a VDO volume", 0, [5]int32{0}, "dmvdo001"},
	{"an LVM physical volume", 0, [5]int32{0, 512, 1024, 1536}, "LABELONE"},
	{"an LVM1 physical volume", 0, [5]int32{0}, "HM\x01\x00|HM\x02\x00"},
	{"a Stratis block device", 0, [5]int32{516, 4612}, "!Stra0tis\x86\xff\x02^\x41rh"},
	{"a Ceph block device", 0, [5]int32{0}, "bluestore block device"},
	{"an Oracle ASM disk", 0, [5]int32{32}, "ORCLDISK"},
	{"a VMFS volume", 0, [5]int32{1 << 20, 2 << 20}, "\x0d\xd0\x01\xc0|\x5e\xf1\xab\x2f"},
	{"a bcache or bcachefs device", 0, [5]int32{4096 + 24, 2<<20 + 24}, bcacheMagic + "|" + bcachefsMagic},
	{"a bcachefs device", 1024, [5]int32{-1<<20 + 24}, bcachefsMagic},
	{"a member of a ZFS pool", 0, [5]int32{16404, 256<<10 + 16404}, zfsMagic},
	{"a member of a ZFS pool", 256 << 10, [5]int32{-512<<10 + 16404, -256<<10 + 16404}, zfsMagic},

	{"a member of an md RAID", 0, [5]int32{0, 4096}, md1Magic},
	{"a member of an md RAID (metadata 1.0, at the end)", 4096, [5]int32{-8192}, md1Magic},
	// With the major and the minor version, in the byte order of its machine.
	{"a member of an md RAID (metadata 0.90, at the end)", 65536, [5]int32{-65536}, "\xfc\x4e\x2b\xa9\x00\x00\x00\x00\x5a\x00\x00\x00|\xfc\x4e\x2b\xa9\x00\x00\x00\x00\x5b\x00\x00\x00|\xa9\x2b\x4e\xfc\x00\x00\x00\x00\x00\x00\x00\x5a|\xa9\x2b\x4e\xfc\x00\x00\x00\x00\x00\x00\x00\x5b"},
	// The second place is that of a fixed size (DRBD_MD_INDEX_INTERNAL).
	{"a DRBD device", 4096, [5]int32{-4096 + 60, -128<<20 + 60}, "\x83\x74\x02\x6b|\x83\x74\x02\x6c|\x83\x74\x02\x6d"},
	{"a DRBD control volume", 0, [5]int32{0}, "$DRBDmgr=q|DRBDdlh*"},
	{"a member of a BIOS RAID (DDF)", 512, [5]int32{-512, -257 * 512}, "\xde\x11\xde\x11"},
	{"a member of a BIOS RAID (Intel)", 512, [5]int32{-1024}, "Intel Raid ISM Cfg Sig. "},
	{"a member of a BIOS RAID (Intel)", 4096, [5]int32{-8192}, "Intel Raid ISM Cfg Sig. "},
	{"a member of a BIOS RAID (LSI)", 512, [5]int32{-512}, "$XIDE$"},
	{"a member of a BIOS RAID (NVIDIA)", 512, [5]int32{-1024}, "NVIDIA  "},
	{"a member of a BIOS RAID (Promise)", 512, [5]int32{-63 * 512, -255 * 512, -256 * 512, -16 * 512, -399 * 512}, "Promise Technology, Inc."},
	{"a member of a BIOS RAID (Promise)", 512, [5]int32{-591 * 512, -675 * 512, -735 * 512, -911 * 512, -974 * 512}, "Promise Technology, Inc."},
	{"a member of a BIOS RAID (Promise)", 512, [5]int32{-991 * 512, -951 * 512, -3087 * 512}, "Promise Technology, Inc."},
	{"a member of a BIOS RAID (HighPoint)", 0, [5]int32{4096 + 544}, "\xf0\x16\x78\x5a|\xfd\x16\x78\x5a"},
	{"a member of a BIOS RAID (HighPoint)", 512, [5]int32{-11 * 512}, "\xf3\x16\x78\x5a|\xfd\x16\x78\x5a"},
	{"a member of a BIOS RAID (Adaptec)", 512, [5]int32{-512}, "\x37\xfc\x4d\x1e"},

	{"swap space", 0, [5]int32{0xff6, 0x1ff6, 0x3ff6, 0x7ff6, 0xfff6}, "SWAPSPACE2|SWAP-SPACE"},
	{"a suspended system", 0, [5]int32{0xff6, 0x1ff6, 0x3ff6, 0x7ff6, 0xfff6}, "S1SUSPEND|S2SUSPEND|ULSUSPEND|LINHIB0001"},
	{"a suspended system", 0, [5]int32{0}, "\xed\xc3\x02\xe9\x98\x56\xe5\x0c"},
	{"a squashfs", 0, [5]int32{0}, "hsqs|sqsh"},
	{"a cramfs", 0, [5]int32{0}, "\x45\x3d\xcd\x28|\x28\xcd\x3d\x45"},
	{"a romfs", 0, [5]int32{0}, "-rom1fs-"},
	{"an NTFS", 0, [5]int32{3}, "NTFS    "},
	{"an exFAT", 0, [5]int32{3}, "EXFAT   "},
	{"a ReFS", 0, [5]int32{0}, "\x00\x00\x00ReFS\x00"},
	{"a FAT file system", 0, [5]int32{54}, "FAT12   |FAT16   |FAT     |MSDOS"},
	{"a FAT file system", 0, [5]int32{82}, "FAT32   |MSWIN"},
	{"an ISO 9660 or UDF file system", 0, [5]int32{32769}, "CD001|BEA01|BOOT2|CDW02|NSR02|NSR03|TEA01"},
	{"an ISO 9660 file system", 0, [5]int32{32777}, "CDROM"},
	{"an APFS", 0, [5]int32{32}, "NXSB"},
	{"a JFS", 0, [5]int32{32768}, "JFS1"},
	{"a ReiserFS", 0, [5]int32{8192 + 0x34, 65536 + 0x34, 8192 + 20}, "ReIsErFs|ReIsEr2Fs|ReIsEr3Fs"},
	{"a Reiser4", 0, [5]int32{65536}, "ReIsEr4"},
	{"a GFS", 0, [5]int32{65536}, "\x01\x16\x19\x70"},
	{"a ScoutFS", 0, [5]int32{65536 + 4}, "\x8b\x42\x3c\x10"},
	{"an OCFS2", 0, [5]int32{2048, 4096, 8192}, "OCFSV2"},
	{"an OCFS", 0, [5]int32{8192}, "OracleCFS"},
	{"a UFS", 0, [5]int32{0x55c, 8<<10 + 0x55c, 64<<10 + 0x55c, 256<<10 + 0x55c}, "\x19\x01\x54\x19|\x54\x19\x01\x00|\x12\x56\x19\x00|\x14\x50\x09\x00|\x95\x21\x61\x00|\x94\x19\x23\x05|\x19\x54\x01\x19|\x00\x01\x19\x54|\x00\x19\x56\x12|\x00\x09\x50\x14|\x00\x61\x21\x95|\x05\x23\x19\x94"},
	{"an HPFS", 0, [5]int32{8192}, "\x49\xe8\x95\xf9"},
	{"a System V file system", 0, [5]int32{512 + 504, 9*1024 + 512 + 504, 15*1024 + 512 + 504, 18*1024 + 512 + 504}, "\x20\x7e\x18\xfd|\xfd\x18\x7e\x20"},
	{"a VxFS", 0, [5]int32{8192}, "\xa5\x01\xfc\xf5"},
	{"a NetWare volume", 0, [5]int32{4096}, "SPB5"},
	{"a BFS", 0, [5]int32{0}, "\xce\xfa\xad\x1b"},
	{"a BeFS", 0, [5]int32{32, 512 + 32}, "BFS1|1SFB"},
	{"an Exanodes file system", 0, [5]int32{0}, "EXFS"},
	{"a UBI or UBIFS image", 0, [5]int32{0}, "UBI#|\x31\x18\x10\x06"},
	{"an mpool", 0, [5]int32{0}, "mpoolDev"},
	{"a zonefs", 0, [5]int32{0}, "SFOZ"},
}

const (
	md1Magic      = "\xfc\x4e\x2b\xa9\x01\x00\x00\x00" // With the major version.
	bcacheMagic   = "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"
	bcachefsMagic = "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"
	// zfsMagic is the name of the first pair in a label (vdev_label.c).
	zfsMagic = "\x00\x00\x00\x07version\x00"
)

// weakSignatures are short, or lie where one of our superblocks has fields of its
// own, or are what is left of something older: they name what is there only
// where there is nothing else.
var weakSignatures = []signature{
	{"an HFS or HFS+", 0, [5]int32{1024}, "BD|H+|HX"},
	{"a Minix file system", 0, [5]int32{1040}, "\x7f\x13|\x8f\x13|\x13\x7f|\x13\x8f|\x68\x24|\x78\x24|\x24\x68|\x24\x78"},
	{"a Minix file system", 0, [5]int32{1048}, "\x5a\x4d|\x4d\x5a"},
	{"a NILFS2", 0, [5]int32{1030}, "\x34\x34"},
	{"a NILFS2", 4096, [5]int32{-4096 + 6}, "\x34\x34"},
	{"an f2fs", 0, [5]int32{1024}, "\x10\x20\xf5\xf2"},
	{"an EROFS", 0, [5]int32{1024}, "\xe2\xe1\xf5\xe0"},
	{"an OCFS2", 0, [5]int32{1024}, "OCFSV2"},
	{"a VxFS", 0, [5]int32{1024}, "\xf5\xfc\x01\xa5"},
	{"a Xenix file system", 0, [5]int32{2048}, "\x2b\x55\x44|\x44\x55\x2b"},
	{"a FileVault volume", 0, [5]int32{88}, "CS"},
	{"a journal of ext4", 0, [5]int32{1024 + 0x38}, "\x53\xef"},
	{"the log of an XFS", 0, [5]int32{0, 512, 1024, 1536, 2048}, "\xfe\xed\xba\xbe"},
	{"the log of an XFS", 0, [5]int32{4096}, "\xfe\xed\xba\xbe"},
	{"the second header of a LUKS volume", 0, [5]int32{0x4000, 0x8000, 0x10000, 0x20000, 0x40000}, "SKUL\xba\xbe"},
	{"the second header of a LUKS volume", 0, [5]int32{0x80000, 0x100000}, "SKUL\xba\xbe"},
	{"the second superblock of a btrfs", 0, [5]int32{64<<20 + 0x40}, "_BHRfS_M"},
	{"the spare copy of a GPT partition table", 512, [5]int32{-512}, "EFI PART"},
	{"the spare copy of a GPT partition table", 4096, [5]int32{-4096}, "EFI PART"},
	// Boot sectors of file systems end like it.
	{"an empty partition table (MBR), or a boot sector", 0, [5]int32{510}, "\x55\xaa"},
}

// checkedSignatures are short too, but bear a checksum.
var checkedSignatures = []struct {
	what  string
	align int32
	place int32
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
