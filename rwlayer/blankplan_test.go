package rwlayer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A fresh file system on a sparse device whose beginning was overwritten with
// zeros is not blank: mkfs would destroy what a repair could bring back.
func TestProveBlankSpareCopies(t *testing.T) {
	const mib, gib, tib = 1 << 20, 1 << 30, 1 << 40
	for kind, tt := range map[string]struct {
		script string
		most   int64 // the largest device on which it is fresh and sparse
		least  int64
	}{
		"ext4":           {"mkfs.ext4 -q -F -E nodiscard $F", 4 * tib, 0},
		"ext4-1k":        {"mkfs.ext4 -q -F -E nodiscard -b 1024 -O ^resize_inode $F", 100 * gib, 0},
		"ext4-sparse2":   {"mkfs.ext4 -q -F -E nodiscard -O sparse_super2,^resize_inode $F", tib, 0},
		"ext4-partition": {"mkfs.ext4 -q -F -E nodiscard,offset=1048576 $F $(($(stat -c %s $F)/4096-512))", tib, 0},
		"ext3":           {"mke2fs -q -F -t ext3 -E nodiscard -i 67108864 $F", 100 * gib, 0},
		"ext2-2k":        {"mke2fs -q -F -t ext2 -E nodiscard -b 2048 -i 67108864 $F", 100 * gib, 0},
		"xfs":            {"mkfs.xfs -q -f -K $F", 4 * tib, 0},
		"xfs-6":          {"mkfs.xfs -q -f -K -d agcount=6 $F", tib, gib},
		"xfs-stripes":    {"mkfs.xfs -q -f -K -d su=1m,sw=4 $F", tib, gib},
		"btrfs":          {"mkfs.btrfs -q -f -K $F", tib, 0},
		"zfs":            {"true", 4 * tib, 0},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int64{300 * mib, 5*gib + 123*mib + 4096, 97 * gib, tib, 4 * tib} {
				if size > tt.most || size < tt.least {
					continue
				}
				file := filepath.Join(t.TempDir(), "disk")
				f, err := os.Create(file)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if err := f.Truncate(size); err != nil {
					t.Skipf("%d bytes: %v", size, err)
				}
				shell(t, strings.ReplaceAll(tt.script, "$F", file))
				if kind == "zfs" {
					for offset, text := range zfsLabel(-256 << 10) {
						if _, err := f.WriteAt([]byte(text), size-size%(256<<10)+offset); err != nil {
							t.Fatal(err)
						}
					}
				}
				for _, head := range []int64{1, 64} {
					shell(t, fmt.Sprintf("fallocate -z -l %dM -n %s 2>/dev/null || dd if=/dev/zero of=%[2]s bs=1M count=%[1]d conv=notrunc status=none", head, file))
					var data *NotBlankError
					if err := proveBlank(f, size, nil, nil); !errors.As(err, &data) {
						t.Errorf("%d bytes, the first %d MiB zeroed: %v, want a NotBlankError", size, head, err)
						continue
					}
					t.Logf("%d bytes, the first %d MiB zeroed: found at %d", size, head, data.Offset)
				}
				os.Remove(file)
			}
		})
	}
}

// The extents of a plan lie on the device, do not overlap, are aligned, and are
// not too much to be read at a boot.
func checkPlan(t *testing.T, size int64) {
	t.Helper()
	var end, total int64
	for _, e := range blankPlan(size) {
		if e.length <= 0 || e.offset < end || e.offset+e.length > size || e.offset%min(pageBytes, size) != 0 {
			t.Fatalf("size %d: extent %+v behind %d", size, e, end)
		}
		end = e.offset + e.length
		total += e.length
	}
	if end != size {
		t.Errorf("size %d: the plan ends at %d", size, end)
	}
	if total > fullBytes {
		t.Errorf("size %d: %d bytes are read", size, total)
	}
}

func TestBlankPlan(t *testing.T) {
	for _, size := range []int64{1, 512, 4096, fullBytes, fullBytes + 1, fullBytes + 512, 1 << 30, 1<<40 + 4096, maxDevice} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			checkPlan(t, size)
		})
	}
	for range 200 {
		checkPlan(t, rand.Int64N(1<<uint(rand.N(62)+1))+1)
	}
}

func FuzzBlankPlan(f *testing.F) {
	f.Add(int64(fullBytes) + 1)
	f.Fuzz(func(t *testing.T, size int64) {
		if size > 0 && size <= maxDevice {
			checkPlan(t, size)
		}
	})
}

// A thinTarget answers READ CAPACITY (16) and GET LBA STATUS for a volume of
// 512-byte blocks.
type thinTarget struct {
	blocks uint64
	thin   byte
	// stored are the extents that are, in blocks, in their order.
	stored []extent
	// each is how many descriptors an answer has.
	each int
}

func (d thinTarget) Execute(cdb, data []byte, write bool) (byte, []byte, error) {
	if cdb[0] != serviceActionIn16 || write {
		return 2, []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0}, nil
	}
	clear(data)
	if cdb[1] == readCapacity16 {
		binary.BigEndian.PutUint64(data, d.blocks-1)
		binary.BigEndian.PutUint32(data[8:], 512)
		data[14] = d.thin
		return 0, nil, nil
	}
	if d.each == 0 {
		return 2, []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0}, nil
	}
	next := binary.BigEndian.Uint64(cdb[2:])
	n := 0
	for ; n < d.each && next < d.blocks; n++ {
		end, status := d.blocks, byte(1)
		for _, e := range d.stored {
			if from := uint64(e.offset); from > next {
				end = from
				break
			} else if to := from + uint64(e.length); to > next {
				end, status = to, 0
				break
			}
		}
		end = min(end, next+1<<32-1)
		entry := data[8+16*n:]
		binary.BigEndian.PutUint64(entry, next)
		binary.BigEndian.PutUint32(entry[8:], uint32(end-next))
		entry[12] = status
		next = end
	}
	binary.BigEndian.PutUint32(data, uint32(4+16*n))
	return 0, nil, nil
}

// A thin volume's target tells what is stored, and a single block of data that no
// sample meets is found by that.
func TestMappedExtents(t *testing.T) {
	const size = int64(8 << 40)
	const hidden = 3_333_333_333_504 / 512 * 512
	thin := thinTarget{blocks: uint64(size / 512), thin: 0xc0, each: 3}
	for name, tt := range map[string]struct {
		change func(d *thinTarget)
		want   string
		untold bool
	}{
		"blank":       {func(*thinTarget) {}, "[]", false},
		"some":        {func(d *thinTarget) { d.stored = []extent{{0, 8}, {8, 8}, {100, 1}, {hidden / 512, 8}} }, fmt.Sprint([]extent{{0, 4096}, {4096, 4096}, {51200, 512}, {hidden, 4096}}), false},
		"thick":       {func(d *thinTarget) { d.thin = 0 }, "", true},
		"notZeros":    {func(d *thinTarget) { d.thin = 0x80 }, "", true},
		"noCommand":   {func(d *thinTarget) { d.each = 0 }, "", true},
		"tooMuch":     {func(d *thinTarget) { d.stored = []extent{{0, 8 << 30 / 512 * 1024}} }, "", true},
		"anotherSize": {func(d *thinTarget) { d.blocks++ }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := thin
			tt.change(&d)
			got, err := mappedExtents(newDevice(d), size)
			if errors.Is(err, errNotReported) != tt.untold || !tt.untold && fmt.Sprint(got) != tt.want {
				t.Errorf("%v, %v, want %s", got, err, tt.want)
			}
		})
	}
	disk := blankDisk(size)
	disk.data = hidden
	if err := proveBlank(disk, size, nil, nil); err != nil {
		t.Errorf("the hidden block is found without the target's help: %v", err)
	}
	thin.stored = []extent{{hidden / 512, 8}}
	mapped, err := mappedExtents(newDevice(thin), size)
	if err != nil {
		t.Fatal(err)
	}
	var data *NotBlankError
	if err := proveBlank(disk, size, mapped, nil); !errors.As(err, &data) || data.Offset != hidden {
		t.Errorf("proveBlank = %v, want a NotBlankError at %d", err, int64(hidden))
	}
}

// An answer of any bytes is refused, or goes on.
func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x01\x00\x00\x00"), uint64(0), uint64(4096))
	f.Fuzz(func(t *testing.T, data []byte, begin, blocks uint64) {
		blocks &= 1<<54 - 1
		if begin >= blocks {
			return
		}
		stored, after, err := parseStatus(data, begin, blocks)
		if err != nil {
			return
		}
		if after <= begin || after > blocks {
			t.Errorf("from %d of %d to %d", begin, blocks, after)
		}
		for _, e := range stored {
			if e.length <= 0 || uint64(e.offset) < begin || uint64(e.offset+e.length) > after {
				t.Errorf("stored %+v, from %d to %d", e, begin, after)
			}
		}
	})
}
