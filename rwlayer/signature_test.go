package rwlayer

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// imageSize is that of the images of disks; mkfs.xfs wants 300 MiB.
const imageSize = 320 << 20

// An imageTest is a disk with something on it, made by a program or written by
// hand.
type imageTest struct {
	// script makes it in $F.
	script string
	// put are texts by offset; a negative one counts from the end.
	put map[int64]string
	// blkid is what the real blkid -p must say of it, TYPE or PTTYPE, so that
	// what is written by hand is real. Empty: Debian 12's does not know it.
	blkid string
	// found is what identify must say.
	found string
	// alone says that it cannot lie over an old ext4: that would be overwritten.
	alone bool
}

// image makes a disk in a sparse file.
func (tt imageTest) image(t *testing.T, before string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, imageSize); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{before, tt.script} {
		if strings.Contains(script, "drbdmeta") && os.Geteuid() != 0 {
			t.Skip("drbdmeta wants a lock in /var/lock, which only root may have")
		}
		program, _, _ := strings.Cut(script, " ")
		if _, err := exec.LookPath(program); script != "" && err != nil && os.Getenv("CI") != "true" {
			t.Skip(err)
		}
		shell(t, strings.ReplaceAll(script, "$F", file))
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for offset, text := range tt.put {
		if offset < 0 {
			offset += imageSize
		}
		if _, err := f.WriteAt([]byte(text), offset); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func identifyFile(t *testing.T, file string) (Volume, error) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return identify(f, imageSize)
}

// probed is what the real blkid -p says, all values in one text, and how many
// signatures wipefs finds.
func probed(t *testing.T, file string) (text string, signatures int) {
	t.Helper()
	out, err := exec.Command("blkid", "-p", "-o", "export", file).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 8 {
		out = []byte("TYPE=ambivalent\n")
	} else if err != nil && (exit == nil || exit.ExitCode() != 2) {
		t.Fatalf("blkid: %v: %s", err, out)
	}
	list, err := exec.Command("wipefs", "--noheadings", "-p", file).CombinedOutput()
	if err != nil {
		t.Fatalf("wipefs: %v: %s", err, list)
	}
	for line := range strings.Lines(string(list)) {
		if !strings.HasPrefix(line, "#") {
			signatures++
		}
	}
	return string(out), signatures
}

// le are numbers as most disks have them.
func le(values ...uint32) string {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return string(b)
}

// md1 is a superblock of md's version 1 at a sector, with its checksum.
func md1(sector uint64) string {
	b := make([]byte, 256)
	copy(b, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00")
	copy(b[16:], "0123456789abcdef")
	binary.LittleEndian.PutUint64(b[144:], sector)
	var sum uint64
	for i := 0; i < len(b); i += 4 {
		sum += uint64(binary.LittleEndian.Uint32(b[i:]))
	}
	binary.LittleEndian.PutUint32(b[216:], uint32(sum)+uint32(sum>>32))
	return string(b)
}

// sumSector is a sector that bears a checksum.
func sumSector(n int, fill func(b []byte)) string {
	b := make([]byte, n)
	fill(b)
	return string(b)
}

// zfsLabel is a label of a ZFS pool at an offset, with four uberblocks.
func zfsLabel(offset int64) map[int64]string {
	pair := func(name string, kind uint32, value string) string {
		padded := name + strings.Repeat("\x00", -len(name)&3)
		be := func(v uint32) string { return string(binary.BigEndian.AppendUint32(nil, v)) }
		size := uint32(12 + len(padded) + 8 + len(value))
		return be(size) + be(size) + be(uint32(len(name))) + padded + be(kind) + be(1) + value
	}
	number := func(v byte) string { return "\x00\x00\x00\x00\x00\x00\x00" + string(v) }
	list := "\x01\x01\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x01" +
		pair("version", 8, "\x00\x00\x00\x00\x00\x00\x13\x88") + pair("name", 9, "\x00\x00\x00\x04tank") + pair("state", 8, number(0)) +
		pair("txg", 8, number(7)) + pair("pool_guid", 8, number(9)) + pair("guid", 8, number(5)) + "\x00\x00\x00\x00\x00\x00\x00\x00"
	put := map[int64]string{offset + 16<<10: list}
	for i := range int64(4) {
		put[offset+128<<10+i<<10] = le(0x00bab10c, 0, 5000, 0)
	}
	return put
}

var imageTests = map[string]imageTest{
	"swap":    {script: "mkswap -q $F", blkid: "TYPE=swap", found: "swap space", alone: true},
	"mbr":     {script: "echo 2048,,L | sfdisk -q -w never -W never $F", blkid: "PTTYPE=dos", found: "partition table (MBR)"},
	"gpt":     {script: "printf 'label: gpt\\n2048,,L\\n' | sfdisk -q -w never -W never $F", blkid: "PTTYPE=gpt", found: "GPT partition table", alone: true},
	"gpt4096": {put: map[int64]string{4096: "EFI PART"}, found: "GPT"},
	"sun":     {script: "printf 'label: sun\\n' | sfdisk -q -w never -W never $F", blkid: "PTTYPE=sun", found: "Sun disklabel"},
	"sgi":     {script: "printf 'label: sgi\\n' | sfdisk -q -w never -W never $F", blkid: "PTTYPE=sgi", found: "SGI partition table"},
	"bsd":     {put: map[int64]string{512: "\x57\x45\x56\x82", 512 + 132: "\x57\x45\x56\x82"}, found: "BSD disklabel"},
	"mac":     {put: map[int64]string{0: "ER\x02\x00", 512: "PM\x00\x00\x00\x00\x00\x01"}, blkid: "PTTYPE=mac", found: "Mac partition table"},
	"amiga":   {put: map[int64]string{0: "RDSK"}, found: "Amiga"},
	"atari":   {put: map[int64]string{0x1c2: "\x00\x0a\x00\x00", 0x1c6: "\x01GEM\x00\x00\x00\x02\x00\x00\x10\x00"}, blkid: "PTTYPE=atari", found: "Atari"},
	"fat":     {script: "mkfs.vfat $F", blkid: "TYPE=vfat", found: "FAT", alone: true},
	"ntfs":    {script: "mkntfs -q -F $F", blkid: "TYPE=ntfs", found: "NTFS", alone: true},
	"f2fs":    {script: "mkfs.f2fs -q $F", blkid: "TYPE=f2fs", found: "f2fs", alone: true},
	"nilfs2":  {script: "mkfs.nilfs2 -q $F", blkid: "TYPE=nilfs2", found: "NILFS2", alone: true},
	"jfs":     {script: "mkfs.jfs -q $F", blkid: "TYPE=jfs", found: "JFS", alone: true},
	"luks1":   {script: "echo x | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 $F -", blkid: "TYPE=crypto_LUKS", found: "LUKS", alone: true},
	"luks2":   {script: "echo x | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $F -", blkid: "TYPE=crypto_LUKS", found: "LUKS", alone: true},
	"lvm":     {put: map[int64]string{512: "LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\xc8\x5c\xc2\xd4\x20\x00\x00\x00LVM2 001" + strings.Repeat("7", 32)}, blkid: "", found: "LVM physical"},
	"lvm1":    {put: map[int64]string{0: "HM\x01\x00"}, blkid: "TYPE=LVM1_member", found: "LVM1"},
	// drbdmeta does not wait for its own lock.
	"drbd":      {script: "flock /tmp/sidusboot-test-drbdmeta.lock drbdmeta --force 0 v08 $F internal create-md", blkid: "TYPE=drbd", found: "DRBD"},
	"drbd9":     {script: "flock /tmp/sidusboot-test-drbdmeta.lock drbdmeta --force 0 v09 $F internal create-md 1", blkid: "TYPE=drbd", found: "DRBD"},
	"md090":     {put: map[int64]string{-65536: le(0xa92b4efc, 0, 90)}, blkid: "TYPE=linux_raid_member", found: "md RAID (metadata 0.90"},
	"md10":      {put: map[int64]string{-8192: md1((imageSize - 8192) / 512)}, blkid: "TYPE=linux_raid_member", found: "md RAID (metadata 1.0"},
	"md11":      {put: map[int64]string{0: md1(0)}, blkid: "TYPE=linux_raid_member", found: "md RAID"},
	"md12":      {put: map[int64]string{4096: md1(8)}, blkid: "TYPE=linux_raid_member", found: "md RAID"},
	"intel":     {put: map[int64]string{-1024: "Intel Raid ISM Cfg Sig. 1.0.00"}, blkid: "TYPE=isw_raid_member", found: "BIOS RAID (Intel)"},
	"ddf":       {put: map[int64]string{-512: "\xde\x11\xde\x11"}, found: "BIOS RAID (DDF)"},
	"lsi":       {put: map[int64]string{-512: "$XIDE$"}, blkid: "TYPE=lsi_mega_raid_member", found: "BIOS RAID (LSI)"},
	"nvidia":    {put: map[int64]string{-1024: "NVIDIA  " + le(30, 0x100000000-30-0x4449564e-0x20204149)}, blkid: "TYPE=nvidia_raid_member", found: "BIOS RAID (NVIDIA)"},
	"promise":   {put: map[int64]string{-3087 * 512: "Promise Technology, Inc."}, blkid: "TYPE=promise_fasttrack_raid_member", found: "BIOS RAID (Promise)"},
	"highpoint": {put: map[int64]string{4096 + 544: "\xf0\x16\x78\x5a"}, blkid: "TYPE=hpt37x_raid_member", found: "BIOS RAID (HighPoint)"},
	"hpt45x":    {put: map[int64]string{-11 * 512: "\xf3\x16\x78\x5a"}, blkid: "TYPE=hpt45x_raid_member", found: "BIOS RAID (HighPoint)"},
	"adaptec":   {put: map[int64]string{-512: "\x37\xfc\x4d\x1e", -512 + 0x100: "DPTM"}, found: "BIOS RAID (Adaptec)"},
	"via": {put: map[int64]string{-512: sumSector(51, func(b []byte) {
		copy(b, "\x55\xaa\x01abc")
		for _, c := range b[:50] {
			b[50] += c
		}
	})}, blkid: "TYPE=via_raid_member", found: "BIOS RAID (VIA)"},
	"silicon": {put: map[int64]string{-512: sumSector(512, func(b []byte) {
		copy(b[0x60:], "\x00\x00\x00\x2f")
		binary.LittleEndian.PutUint16(b[0x13e:], 0x10000-0x2f00)
	})}, blkid: "TYPE=silicon_medley_raid_member", found: "BIOS RAID (Silicon"},
	"jmicron": {put: map[int64]string{-512: sumSector(512, func(b []byte) {
		copy(b, "JM")
		binary.LittleEndian.PutUint16(b[4:], 0x10000-0x4d4a)
	})}, blkid: "TYPE=jmicron_raid_member", found: "BIOS RAID (JMicron)"},
	"zfsBegin":    {put: zfsLabel(0), blkid: "TYPE=zfs_member", found: "ZFS"},
	"zfsEnd":      {put: zfsLabel(-256 << 10), blkid: "TYPE=zfs_member", found: "ZFS"},
	"bcache":      {put: map[int64]string{4096 + 24: bcacheMagic}, found: "bcache"},
	"vmfs":        {put: map[int64]string{1 << 20: "\x0d\xd0\x01\xc0"}, blkid: "TYPE=VMFS_volume_member", found: "VMFS"},
	"bluestore":   {put: map[int64]string{0: "bluestore block device\n"}, blkid: "TYPE=ceph_bluestore", found: "Ceph"},
	"asm":         {put: map[int64]string{32: "ORCLDISK"}, blkid: "TYPE=oracleasm", found: "Oracle ASM"},
	"vdo":         {put: map[int64]string{0: "dmvdo001"}, blkid: "TYPE=vdo", found: "VDO"},
	"verity":      {put: map[int64]string{0: "verity\x00\x00\x01"}, blkid: "TYPE=DM_verity_hash", found: "verity"},
	"snapshot":    {put: map[int64]string{0: "SnAp"}, blkid: "TYPE=DM_snapshot_cow", found: "snapshot"},
	"squashfs":    {put: map[int64]string{0: "hsqs" + strings.Repeat("\x00", 24) + "\x04\x00"}, blkid: "TYPE=squashfs", found: "squashfs"},
	"iso":         {put: map[int64]string{32768: "\x01CD001\x01", 34816: "\xffCD001\x01"}, blkid: "TYPE=iso9660", found: "ISO 9660"},
	"reiserfs":    {put: map[int64]string{65536 + 0x34: "ReIsEr2Fs", 65536 + 0x2c: "\x00\x10"}, found: "ReiserFS"},
	"gfs2":        {put: map[int64]string{65536: "\x01\x16\x19\x70\x00\x00\x00\x01"}, found: "GFS"},
	"apfs":        {put: map[int64]string{32: "NXSB"}, found: "APFS"},
	"minix":       {put: map[int64]string{1040: "\x8f\x13"}, found: "Minix", alone: true},
	"extJournal":  {script: "mke2fs -q -O journal_dev $F", blkid: "TYPE=jbd", found: "a journal of ext4", alone: true},
	"emptyMBR":    {put: map[int64]string{510: "\x55\xaa"}, found: "empty partition table", alone: true},
	"gptSpare":    {script: "printf 'label: gpt\\n2048,,L\\n' | sfdisk -q -w never -W never $F; dd if=/dev/zero of=$F bs=1M count=1 conv=notrunc status=none", found: "spare copy of a GPT", alone: true},
	"btrfsSecond": {script: "mkfs.btrfs -q $F; dd if=/dev/zero of=$F bs=1M count=1 conv=notrunc status=none", found: "second superblock of a btrfs", alone: true},
	"lvmOnLoop":   {put: map[int64]string{1536: "LABELONE"}, found: "LVM physical", alone: true},
}

// What others have is named, and blkid knows it too. With an old ext4 below it,
// whose superblock it leaves alone, it is not taken for that.
func TestIdentifyForeign(t *testing.T) {
	for name, tt := range imageTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := tt.image(t, "")
			_, err := identifyFile(t, file)
			var foreign *ForeignError
			if !errors.As(err, &foreign) || !strings.Contains(foreign.Found, tt.found) {
				t.Errorf("identify = %v, want %q found", err, tt.found)
			}
			if says, _ := probed(t, file); tt.blkid != "" && !strings.Contains(says, tt.blkid+"\n") {
				t.Errorf("blkid says %q, want %s: the image is not what it should be", says, tt.blkid)
			}
			if tt.alone {
				return
			}
			file = tt.image(t, "mkfs.ext4 -q -L sidusboot $F 300M")
			v, err := identifyFile(t, file)
			if !errors.As(err, &foreign) || !strings.Contains(foreign.Found, tt.found) || !strings.Contains(foreign.Found, "an old ext4 below it") {
				t.Errorf("over an old ext4: identify = %+v, %v", v, err)
			}
		})
	}
}

// Ours are taken as they are, and what a real mkfs leaves of something older does
// not get in their way, where it does not get in the way of blkid and wipefs.
func TestIdentifyOurs(t *testing.T) {
	const id = "01234567-89ab-cdef-0123-456789abcdef"
	scripts := map[string]struct {
		script string
		want   Volume
	}{
		"ext4":    {"mkfs.ext4 -q -F -U " + id + " -L node $F", Volume{"ext4", id, "node"}},
		"ext4-1k": {"mkfs.ext4 -q -F -b 1024 -U " + id + " $F", Volume{"ext4", id, ""}},
		"ext2":    {"mke2fs -q -F -t ext2 -L two -U " + id + " $F", Volume{"ext4", id, "two"}},
		"ext3":    {"mke2fs -q -F -t ext3 -L three -U " + id + " $F", Volume{"ext4", id, "three"}},
		"xfs":     {"mkfs.xfs -q -f -m uuid=" + id + " -L xnode $F", Volume{"xfs", id, "xnode"}},
		"btrfs":   {"mkfs.btrfs -q -f -U " + id + " -L bnode $F", Volume{"btrfs", id, "bnode"}},
	}
	for name, tt := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := imageTest{script: tt.script}.image(t, "")
			if got, err := identifyFile(t, file); got != tt.want || err != nil {
				t.Errorf("identify = %+v, %v, want %+v", got, err, tt.want)
			}
			// Not only the head: the proof that it is blank does not take it for
			// blank either.
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var data *NotBlankError
			if err := proveBlank(f, imageSize, nil, nil); !errors.As(err, &data) {
				t.Errorf("proveBlank = %v, want a NotBlankError", err)
			}
		})
		for old, before := range imageTests {
			t.Run(name+"/over/"+old, func(t *testing.T) {
				if !slices.Contains([]string{"ext4", "xfs", "btrfs"}, name) || !slices.Contains([]string{"mbr", "gpt", "swap", "luks2", "md12", "md10", "md090", "lvm", "intel", "drbd", "jfs"}, old) {
					t.SkipNow()
				}
				t.Parallel()
				file := before.image(t, "")
				shell(t, strings.ReplaceAll(tt.script, "$F", file))
				says, signatures := probed(t, file)
				got, err := identifyFile(t, file)
				clean := signatures == 1 && !strings.Contains(says, "ambivalent") && !strings.Contains(says, "PTTYPE=")
				if clean && (got != tt.want || err != nil) {
					t.Errorf("identify = %+v, %v; blkid says %q", got, err, says)
				}
				if !clean && err == nil && !strings.Contains(says, "PTTYPE=gpt") {
					t.Errorf("identify = %+v, but blkid says %q, and wipefs finds %d signatures", got, says, signatures)
				}
			})
		}
	}
	// Two at once.
	file := imageTest{script: "mkfs.btrfs -q $F", put: map[int64]string{1024 + 0x38: "\x53\xef"}}.image(t, "")
	var foreign *ForeignError
	if _, err := identifyFile(t, file); !errors.As(err, &foreign) || !strings.Contains(foreign.Found, "ext4") || !strings.Contains(foreign.Found, "btrfs") {
		t.Errorf("two at once: %v", err)
	}
}
