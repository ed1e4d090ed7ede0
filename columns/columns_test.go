package columns

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A section is where a table of a module made here lies.
type section struct {
	kind          uint32
	begin, length uint64
	bytesInOneRow uint64
}

// makeModule makes an ELF file of so many bytes before its section headers, whose tables
// are filled as a compiler does: the next place, one of few symbols, the next addend.
func makeModule(body int, sections ...section) []byte {
	le := binary.LittleEndian
	m := make([]byte, body+len(sections)*sectionBytes)
	copy(m, elfMagic)
	le.PutUint64(m[0x28:], uint64(body))
	le.PutUint16(m[0x3a:], sectionBytes)
	le.PutUint16(m[0x3c:], uint16(len(sections)))
	for i, s := range sections {
		h := m[body+i*sectionBytes:]
		le.PutUint32(h[4:], s.kind)
		le.PutUint64(h[24:], s.begin)
		le.PutUint64(h[32:], s.length)
		le.PutUint64(h[56:], s.bytesInOneRow)
		for at := s.begin; at+rowBytes <= min(s.begin+s.length, uint64(body)); at += rowBytes {
			row, n := m[at:], (at-s.begin)/rowBytes
			switch s.kind {
			case relocations:
				le.PutUint64(row, n*13+n%7)
				le.PutUint32(row[8:], 2)
				le.PutUint32(row[symbolAt:], uint32(n*n%11)+uint32(n%3)<<13)
				le.PutUint64(row[addendAt:], n*24-4)
			case symbols:
				le.PutUint32(row, uint32(n*17+n%5))
				le.PutUint64(row[8:], n*48)
			}
		}
	}
	return append(m, "a signature"...)
}

func packedBytes(t *testing.T, b []byte) int {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return len(e.EncodeAll(b, nil))
}

// A module comes out as it was, and is smaller meanwhile.
func TestSplit(t *testing.T) {
	module := makeModule(60000, section{relocations, 30000, 24 * 1000, 24}, section{symbols, 64, 24 * 500, 24}, section{relocations, 20000, 24, 24}, section{1, 100, 5, 0})
	arranged := bytes.Clone(module)
	if !Split(arranged) || bytes.Equal(arranged, module) {
		t.Fatal("it was not arranged")
	}
	if got, was := packedBytes(t, arranged), packedBytes(t, module); got > was/2 {
		t.Errorf("%d bytes packed, %d before", got, was)
	}
	if Split(bytes.Clone(arranged)) {
		t.Error("what is arranged is arranged again")
	}
	if Join(arranged); !bytes.Equal(arranged, module) {
		t.Error("it is not what it was")
	}
	if Join(arranged); !bytes.Equal(arranged, module) {
		t.Error("a module that is not arranged was changed")
	}
}

// What is no module, or one in which tables could be mistaken, stays as it is.
func TestSplitNothing(t *testing.T) {
	table := section{relocations, 64, 2400, 24}
	change := func(at int, b ...byte) []byte {
		m := makeModule(3000, table)
		copy(m[at:], b)
		return m
	}
	for name, module := range map[string][]byte{
		"empty":         nil,
		"short":         []byte(elfMagic),
		"text":          bytes.Repeat([]byte("text"), 100),
		"no tables":     makeModule(3000, section{1, 64, 2400, 24}),
		"32 bits":       change(4, 1),
		"big endian":    change(5, 2),
		"beyond":        makeModule(3000, section{relocations, 1000, 2400, 24}),
		"huge":          makeModule(3000, section{relocations, 64, 1<<64 - 40, 24}),
		"half a row":    makeModule(3000, section{relocations, 64, 2401, 24}),
		"on the header": makeModule(3000, section{relocations, 40, 2400, 24}),
		"overlap":       makeModule(3000, table, section{symbols, 2440, 240, 24}),
		"rows of 16":    makeModule(3000, section{relocations, 64, 2400, 16}),
		"headers far":   change(0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"many headers":  change(0x3c, 0xff, 0xff),
		"odd headers":   change(0x3a, 63),
	} {
		t.Run(name, func(t *testing.T) {
			got := bytes.Clone(module)
			if Split(got) || !bytes.Equal(got, module) {
				t.Error("it was changed")
			}
		})
	}
}

// Whatever a module is, it comes out as it was; and what is damaged while it is arranged
// stops nothing.
func FuzzSplit(f *testing.F) {
	f.Add(makeModule(3000, section{relocations, 64, 240, 24}, section{symbols, 600, 2400, 24}))
	f.Add(makeModule(200, section{relocations, 64, 24, 24}))
	arranged := makeModule(400, section{symbols, 64, 240, 24})
	Split(arranged)
	f.Add(arranged)
	f.Fuzz(func(t *testing.T, module []byte) {
		got := bytes.Clone(module)
		if Split(got) {
			if Join(got); !bytes.Equal(got, module) {
				t.Error("it is not what it was")
			}
			return
		}
		if !bytes.Equal(got, module) {
			t.Error("it was changed")
		}
		Join(got)
		if len(got) != len(module) {
			t.Error("another length")
		}
	})
}
