package rwlayer

import (
	"errors"
	"fmt"
	"io"
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
		if err := proveBlank(blankDisk(size), size, nil, nil); err != nil {
			t.Errorf("%d zero bytes: %v", size, err)
		}
		for _, where := range []int64{0, 511, size / 2, size - 1} {
			if where >= size || (size > fullBytes && where == size/2) {
				continue // Between two samples, perhaps.
			}
			d := blankDisk(size)
			d.data = where
			var data *NotBlankError
			if err := proveBlank(d, size, nil, nil); !errors.As(err, &data) || data.Offset != where {
				t.Errorf("%d bytes with one at %d: %v, want a NotBlankError there", size, where, err)
			}
			d = blankDisk(size)
			d.broken = where
			if err := proveBlank(d, size, nil, nil); !errors.Is(err, errBroken) {
				t.Errorf("%d bytes, unreadable at %d: %v, want the read error", size, where, err)
			}
		}
	}
	if err := proveBlank(blankDisk(0), 0, nil, nil); err == nil {
		t.Error("no size: no error")
	}
	if err := proveBlank(blankDisk(4096), 8192, nil, nil); err == nil {
		t.Error("shorter than its size: no error")
	}
}

// Every byte up to 256 MiB; beyond, the edges and at least 1,000 places spread
// over what is between.
func TestProveBlankReads(t *testing.T) {
	d := blankDisk(fullBytes)
	if err := proveBlank(d, d.size, nil, nil); err != nil || len(d.touched) != fullBytes/4096 {
		t.Errorf("read %d blocks of %d, %v", len(d.touched), fullBytes/4096, err)
	}
	d = blankDisk(100 << 30)
	if err := proveBlank(d, d.size, nil, nil); err != nil {
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

func TestIdentifyNothing(t *testing.T) {
	for _, size := range []int64{0, 1, 511, 512, 4096, 65536, 65537, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			if _, err := identify(blankDisk(size), size); !errors.Is(err, errUnknown) {
				t.Errorf("identify of %d zeros = %v", size, err)
			}
		})
	}
	d := blankDisk(1 << 20)
	d.broken = 1<<20 - 1
	if _, err := identify(d, d.size); !errors.Is(err, errBroken) {
		t.Errorf("identify of a disk whose end cannot be read = %v", err)
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
		v, err := identify(strings.NewReader(string(device)), int64(len(device)))
		if (err == nil) != (v.Type != "") {
			t.Errorf("identify = %+v, %v", v, err)
		}
		if strings.ContainsFunc(v.Label, func(r rune) bool { return r < ' ' }) {
			t.Errorf("label %q", v.Label)
		}
	})
}
