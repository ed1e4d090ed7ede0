package initrd

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// sample is 24 MB that compress about as modules do, more than a window.
func sample() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 5000)
	for i := range words {
		words[i] = make([]byte, 4+r.IntN(60))
		for j := range words[i] {
			words[i][j] = byte(r.IntN(256))
		}
	}
	var b bytes.Buffer
	for b.Len() < 24<<20 {
		b.Write(words[r.IntN(len(words))])
	}
	return b.Bytes()
}

func compressWith(t *testing.T, c compressor, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.write(&b)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := range bytesInChunks(data, 1<<20) {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func bytesInChunks(data []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			n := min(size, len(data))
			if !yield(data[:n]) {
				return
			}
			data = data[n:]
		}
	}
}

func TestCompressRoundTrip(t *testing.T) {
	data := append([]byte("070701"), sample()[:1<<20]...)
	for _, c := range compressors {
		r, name, err := uncompress(bytes.NewReader(compressWith(t, c, data)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data) || name != c.name {
			t.Errorf("%s: unpacked as %s: %d bytes, %v, want %d", c.name, name, len(got), err, len(data))
		}
	}
}

// The number of processors must not show.
func TestZstdSameOnAnyMachine(t *testing.T) {
	c := compressors[0]
	data := sample()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := compressWith(t, c, data)
	for _, procs := range []int{2, 4, 16} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			runtime.GOMAXPROCS(procs)
			if !bytes.Equal(compressWith(t, c, data), want) {
				t.Errorf("output with %d processors differs from that with one", procs)
			}
		})
	}
}

// The kernel takes one frame, with a window that it can afford, and checks the
// sum.
func TestZstdFrame(t *testing.T) {
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("zstd is not installed")
	}
	file := filepath.Join(t.TempDir(), "x.zst")
	if err := os.WriteFile(file, compressWith(t, compressors[0], sample()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(zstd, "-lv", file).CombinedOutput()
	if err != nil {
		t.Fatalf("zstd -lv: %v: %s", err, out)
	}
	for _, want := range []string{"Zstandard Frames: 1\n", "Window Size: 8.00 MiB", "Check: XXH64"} {
		t.Run(want, func(t *testing.T) {
			if !strings.Contains(string(out), want) {
				t.Errorf("zstd -lv says %s, want %q", out, want)
			}
		})
	}
	if strings.Contains(string(out), "Skippable") {
		t.Errorf("the frame is followed by a skippable one: %s", out)
	}
}

func TestXzCheck(t *testing.T) {
	// The stream flags behind the magic: 1 is CRC32 (xz-file-format, 2.1.1.2).
	if got := compressWith(t, compressors[2], []byte("x"))[7]; got != 1 {
		t.Errorf("xz check = %d, want 1: the kernel has only CRC32", got)
	}
}
