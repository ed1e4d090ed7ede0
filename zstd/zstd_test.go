package zstd

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	library "github.com/klauspost/compress/zstd"
)

// samples are data with what an encoder does differently: nothing at all, few and many
// symbols, what repeats near, far and for long, what does not repeat, several blocks.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 140<<10)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	words := make([]byte, 0, 300<<10)
	for len(words) < 300<<10 {
		words = append(words, noise[r.IntN(2000):][:3+r.IntN(12)]...)
	}
	few := make([]byte, 200<<10)
	for i := range few {
		few[i] = "aaaaaabbbc"[r.IntN(10)]
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"empty": nil, "byte": {7}, "few": few, "short": []byte("hello hello hello hello"), "zeros": make([]byte, 400<<10),
		"noise": noise, "words": words, "program": program[:min(len(program), 400<<10)], "far": append(append(bytes.Clone(noise), few...), noise...),
	}
}

func encode(t testing.TB, data []byte, opts ...library.EOption) []byte {
	t.Helper()
	e, err := library.NewWriter(nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(data, nil)
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, data := range samples(t) {
		for level := library.SpeedFastest; level <= library.SpeedBestCompression; level++ {
			for _, single := range []bool{false, true} {
				file := encode(t, data, library.WithEncoderLevel(level), library.WithSingleSegment(single), library.WithZeroFrames(true))
				if len(data) < 256 && !single {
					continue // It says no size.
				}
				got, err := Decode(file, len(data))
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s, %v, single segment %v: %d bytes, %v; want %d", name, level, single, len(got), err, len(data))
				}
			}
		}
	}
}

// TestDecodeCut cuts a file, and changes each of its bytes.
func TestDecodeCut(t *testing.T) {
	t.Parallel()
	data := samples(t)["words"][:20<<10]
	file := encode(t, data)
	for n := range file {
		if got, err := Decode(file[:n], len(data)); err == nil {
			t.Fatalf("the first %d of %d bytes unpack to %d bytes", n, len(file), len(got))
		}
		changed := bytes.Clone(file)
		changed[n] ^= 1 << (n % 8)
		// A bit of the header may mean nothing.
		if got, err := Decode(changed, len(data)); err == nil && !bytes.Equal(got, data) {
			t.Fatalf("byte %d changed: unpacks to %d other bytes", n, len(got))
		}
	}
	if _, err := Decode(append(bytes.Clone(file), 0), len(data)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("with a byte behind it: %v", err)
	}
}

func TestDecodeBomb(t *testing.T) {
	t.Parallel()
	file := encode(t, make([]byte, 1<<20))
	if _, err := Decode(file, 1<<20-1); err == nil || err.Error() != "zstd: unpacks to 1048576 bytes, more than 1048575" {
		t.Errorf("more than the limit: %v", err)
	}
	// It says less than there is.
	changed := bytes.Clone(file)
	i := bytes.Index(changed, []byte{0, 0, 0x10, 0})
	changed[i+2] = 1
	if _, err := Decode(changed, 1<<20); !errors.Is(err, ErrDamaged) {
		t.Errorf("more than it says: %v", err)
	}
}

func TestDecodeForeign(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w, err := library.NewWriter(&b) // A stream, which does not know its size.
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(samples(t)["few"])
	_ = w.Close()
	for name, file := range map[string][]byte{
		"no size": b.Bytes(), "another format": []byte("\xfd7zXZ\x00 and more"),
		"a dictionary": {0x28, 0xb5, 0x2f, 0xfd, 0x21, 9, 0, 1, 0, 0},
	} {
		if _, err := Decode(file, 1<<20); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Decode(nil, 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("nothing: %v", err)
	}
}

// FuzzDecode compares with the library what both unpack, and never unpacks what the
// library refuses.
func FuzzDecode(f *testing.F) {
	for _, data := range samples(f) {
		for _, level := range []library.EncoderLevel{library.SpeedFastest, library.SpeedBestCompression} {
			f.Add(encode(f, data[:min(len(data), 2000)], library.WithEncoderLevel(level)))
		}
	}
	d, err := library.NewReader(nil, library.WithDecoderConcurrency(1), library.WithDecoderMaxMemory(1<<20))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := Decode(file, 1<<20)
		if err != nil {
			return
		}
		want, err := d.DecodeAll(file, nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, the library %d, %v", len(got), len(want), err)
		}
	})
}
