package rwlayer

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A disk is zeros but for one byte, and may have a place that cannot be read.
type disk struct {
	size    int64
	data    int64 // offset of a byte that is not zero, -1: none
	broken  int64 // offset of a byte that cannot be read, -1: none
	reads   int64
	touched map[int64]bool // 4 KiB blocks that were read
}

func blankDisk(size int64) *disk {
	return &disk{size: size, data: -1, broken: -1, touched: make(map[int64]bool)}
}

var errBroken = errors.New("input/output error")

func (d *disk) ReadAt(b []byte, offset int64) (int, error) {
	clear(b)
	n := int64(len(b))
	if offset+n > d.size {
		return int(max(d.size-offset, 0)), io.EOF
	}
	d.reads += n
	for block := offset / 4096; block <= (offset+n-1)/4096; block++ {
		d.touched[block] = true
	}
	in := func(where int64) bool { return where >= offset && where < offset+n }
	if in(d.broken) {
		return 0, errBroken
	}
	if in(d.data) {
		b[d.data-offset] = 0x42
	}
	return len(b), nil
}

func TestProveBlank(t *testing.T) {
	const small, large, huge = 100<<20 + 512, 1 << 30, 8 << 40
	for _, size := range []int64{512, 4096, small, fullBytes, fullBytes + 4096, large, huge} {
		if err := ProveBlank(blankDisk(size), size); err != nil {
			t.Errorf("%d zero bytes: %v", size, err)
		}
		for _, where := range []int64{0, 511, size / 2, size - 1} {
			if where >= size || (size > fullBytes && where == size/2) {
				continue // Between two samples, perhaps.
			}
			d := blankDisk(size)
			d.data = where
			var data *DataError
			if err := ProveBlank(d, size); !errors.As(err, &data) || data.Offset != where {
				t.Errorf("%d bytes with one at %d: %v, want a DataError there", size, where, err)
			}
			d = blankDisk(size)
			d.broken = where
			if err := ProveBlank(d, size); !errors.Is(err, errBroken) {
				t.Errorf("%d bytes, unreadable at %d: %v, want the read error", size, where, err)
			}
		}
	}
	if err := ProveBlank(blankDisk(0), 0); err == nil {
		t.Error("no size: no error")
	}
	if err := ProveBlank(blankDisk(4096), 8192); err == nil {
		t.Error("shorter than its size: no error")
	}
}

// Every byte up to 256 MiB; beyond, the edges and at least 1,000 places spread
// over what is between.
func TestProveBlankReads(t *testing.T) {
	d := blankDisk(fullBytes)
	if err := ProveBlank(d, d.size); err != nil || len(d.touched) != fullBytes/4096 {
		t.Errorf("read %d blocks of %d, %v", len(d.touched), fullBytes/4096, err)
	}
	d = blankDisk(100 << 30)
	if err := ProveBlank(d, d.size); err != nil {
		t.Fatal(err)
	}
	spread := 0
	const edge = edgeBytes / 4096
	last := int64(edge)
	for block := int64(edge); block < d.size/4096-edge; block++ {
		if d.touched[block] {
			spread++
			if gap := block - last; gap > d.size/4096/900 {
				t.Errorf("nothing read for %d blocks before block %d", gap, block)
			}
			last = block
		}
	}
	if spread < 1000 {
		t.Errorf("%d places between the edges, want 1,000 at least", spread)
	}
	for block := range int64(edge) {
		if !d.touched[block] || !d.touched[d.size/4096-1-block] {
			t.Fatalf("block %d of an edge was not read", block)
		}
	}
}

// What real programs write is recognised, and none of it passes for blank.
func TestIdentify(t *testing.T) {
	tests := []struct {
		name, command string
		want          Volume
		found         string
	}{
		{"ext4", "mkfs.ext4 -q -U 01234567-89ab-cdef-0123-456789abcdef -L node $F", Volume{"ext4", "01234567-89ab-cdef-0123-456789abcdef", "node"}, ""},
		{"ext2", "mke2fs -q -t ext2 -L two -U 01234567-89ab-cdef-0123-456789abcdef $F", Volume{"ext4", "01234567-89ab-cdef-0123-456789abcdef", "two"}, ""},
		{"xfs", "mkfs.xfs -q -m uuid=01234567-89ab-cdef-0123-456789abcdef -L xnode $F", Volume{"xfs", "01234567-89ab-cdef-0123-456789abcdef", "xnode"}, ""},
		{"btrfs", "mkfs.btrfs -q -U 01234567-89ab-cdef-0123-456789abcdef -L bnode $F", Volume{"btrfs", "01234567-89ab-cdef-0123-456789abcdef", "bnode"}, ""},
		{"swap", "mkswap -q $F", Volume{}, "swap space"},
		{"mbr", "echo 2048,,L | sfdisk -q $F", Volume{}, "partition table (MBR)"},
		{"gpt", "echo 2048,,L | sfdisk -q -X gpt $F", Volume{}, "GPT partition table"},
		{"fat", "mkfs.vfat $F", Volume{}, "FAT"},
		{"lvm", `printf LABELONE | dd of=$F bs=512 seek=1 conv=notrunc status=none`, Volume{}, "LVM"},
		{"gpt over ext4", "mkfs.ext4 -q $F; printf 'EFI PART' | dd of=$F bs=4096 seek=1 conv=notrunc status=none", Volume{}, "GPT"},
		{"lvm over ext4", `mkfs.ext4 -q $F; printf LABELONE | dd of=$F bs=512 seek=1 conv=notrunc status=none`, Volume{}, "LVM"},
		{"luks", `printf 'LUKS\272\276' | dd of=$F conv=notrunc status=none`, Volume{}, "LUKS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			const size = 320 << 20 // mkfs.xfs wants 300 MiB.
			if err := os.Truncate(file, size); err != nil {
				t.Fatal(err)
			}
			program, _, _ := strings.Cut(tt.command, " ")
			if _, err := exec.LookPath(program); err != nil && strings.HasPrefix(program, "mk") && os.Getenv("CI") != "true" {
				t.Skip(err)
			}
			cmd := exec.Command("sh", "-ec", tt.command)
			cmd.Env = append(os.Environ(), "F="+file, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", tt.command, err, out)
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := Identify(f, size)
			if tt.found == "" && (got != tt.want || err != nil) {
				t.Errorf("Identify = %+v, %v, want %+v", got, err, tt.want)
			}
			var foreign *ForeignError
			if tt.found != "" && (!errors.As(err, &foreign) || !strings.Contains(foreign.Found, tt.found)) {
				t.Errorf("Identify = %+v, %v, want %q found", got, err, tt.found)
			}
			var data *DataError
			if err := ProveBlank(f, size); !errors.As(err, &data) {
				t.Errorf("ProveBlank = %v, want a DataError", err)
			}
		})
	}
	if _, err := Identify(blankDisk(4096), 4096); !errors.Is(err, errUnknown) {
		t.Errorf("Identify of zeros = %v", err)
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add([]byte("XFSB"), 0)
	f.Add([]byte("_BHRfS_M"), 0x10040)
	f.Add([]byte("\x53\xef"), 1024+0x38)
	f.Fuzz(func(t *testing.T, b []byte, offset int) {
		if offset < 0 || offset > 1<<17 {
			return
		}
		device := append(make([]byte, offset), b...)
		v, err := Identify(strings.NewReader(string(device)), int64(len(device)))
		if (err == nil) != (v.Type != "") {
			t.Errorf("Identify = %+v, %v", v, err)
		}
		if strings.ContainsFunc(v.Label, func(r rune) bool { return r < ' ' }) {
			t.Errorf("label %q", v.Label)
		}
	})
}
