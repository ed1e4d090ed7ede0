package initrd

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// A source is the file of an image. It counts what has been read.
type source struct {
	r      *bufio.Reader
	offset int64
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.offset += int64(n)
	return n, err
}

// ReadByte keeps decoders from reading ahead.
func (s *source) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.offset++
	}
	return b, err
}

// A format is a way to compress an archive, with the bytes that it begins with. The
// kernel knows the same ones (lib/decompress.c).
type format struct {
	name, magic string
	// open gives a reader that ends where the compressed data end, and leaves src
	// there. It is nil where the format is not supported; remedy says what to do.
	open   func(src *source) (io.Reader, error)
	remedy string
}

var formats = []format{
	{name: "gzip", magic: "\x1f\x8b", open: openGzip},
	{name: "zstd", magic: "\x28\xb5\x2f\xfd", open: openZstd},
	{name: "xz", magic: "\xfd7zXZ\x00", open: openXz},
	{name: "lz4", magic: "\x02\x21\x4c\x18", open: openLz4},
	{name: "bzip2", magic: "BZh", open: openBzip2},
	{name: "lzma", magic: "\x5d\x00\x00", open: openLzma},
	{name: "lzop", magic: "\x89LZO", remedy: "decompress it with lzop -d first"},
	{name: "lz4 frame", magic: "\x04\x22\x4d\x18", remedy: "the kernel does not support it either: compress it with lz4 -l"},
}

// findFormat tells what an archive that begins so is compressed with.
func findFormat(start []byte) (format, bool) {
	for _, f := range formats {
		if bytes.HasPrefix(start, []byte(f.magic)) {
			return f, true
		}
	}
	return format{}, false
}

func openGzip(src *source) (io.Reader, error) {
	r, err := gzip.NewReader(src)
	if err != nil {
		return nil, err
	}
	r.Multistream(false)
	return r, nil
}

// A zstdReader stops the decoder's goroutines at the end.
type zstdReader struct{ d *zstd.Decoder }

func openZstd(src *source) (io.Reader, error) {
	d, err := zstd.NewReader(newZstdFrame(src), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDictionary))
	if err != nil {
		return nil, err
	}
	return zstdReader{d}, nil
}

func (r zstdReader) Read(p []byte) (int, error) { return r.d.Read(p) }

func (r zstdReader) Close() error {
	r.d.Close()
	return nil
}

func openXz(src *source) (io.Reader, error) {
	return xz.ReaderConfig{SingleStream: true}.NewReader(newXzFrame(src))
}

func openLzma(src *source) (io.Reader, error) {
	return lzma.ReaderConfig{DictCap: maxDictionary}.NewReader(src)
}

// A bzip2Reader ends behind the first stream. The library looks for another one
// and has then read two bytes too many.
type bzip2Reader struct {
	src  *source
	last [2]byte
	r    io.Reader
}

func openBzip2(src *source) (io.Reader, error) {
	b := &bzip2Reader{src: src}
	b.r = bzip2.NewReader(b)
	return bzip2End{b}, nil
}

func (b *bzip2Reader) Read(p []byte) (int, error) {
	c, err := b.ReadByte()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

func (b *bzip2Reader) ReadByte() (byte, error) {
	c, err := b.src.ReadByte()
	if err == nil {
		b.last = [2]byte{b.last[1], c}
	}
	return c, err
}

type bzip2End struct{ b *bzip2Reader }

func (e bzip2End) Read(p []byte) (int, error) {
	n, err := e.b.r.Read(p)
	var bad bzip2.StructuralError
	if errors.As(err, &bad) && bad == "bad magic value in continuation file" {
		e.b.src.r = bufio.NewReader(io.MultiReader(bytes.NewReader(e.b.last[:]), e.b.src.r))
		e.b.src.offset -= 2
		err = io.EOF
	}
	return n, err
}

// An lz4Reader reads the legacy format, the only one that the kernel unpacks
// (lib/decompress_unlz4.c): blocks with their sizes before them, up to the end of
// the file or to zeros.
type lz4Reader struct {
	src           *source
	packed, block []byte
	rest          []byte // Of the block.
}

const (
	lz4Magic = 0x184c2102
	lz4Block = 8 << 20 // LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE
)

func openLz4(src *source) (io.Reader, error) {
	if _, err := src.r.Discard(4); err != nil {
		return nil, err
	}
	src.offset += 4
	return &lz4Reader{src: src, block: make([]byte, lz4Block)}, nil
}

func (l *lz4Reader) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		head, err := l.src.r.Peek(4)
		size := int64(0)
		if len(head) == 4 {
			size = int64(binary.LittleEndian.Uint32(head))
		}
		switch {
		case len(head) < 4 && errors.Is(err, io.EOF), size == 0:
			return 0, io.EOF // Zeros are left to whoever reads on.
		case err != nil:
			return 0, err
		case size == lz4Magic:
			_, _ = l.src.r.Discard(4)
			l.src.offset += 4
			continue
		case size > int64(lz4.CompressBlockBound(lz4Block)):
			return 0, fmt.Errorf("lz4: a block of %d bytes, more than there can be", size)
		}
		_, _ = l.src.r.Discard(4)
		l.src.offset += 4
		if int64(cap(l.packed)) < size {
			l.packed = make([]byte, size)
		}
		l.packed = l.packed[:size]
		if _, err := io.ReadFull(l.src, l.packed); err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		n, err := lz4.UncompressBlock(l.packed, l.block)
		if err != nil {
			return 0, err
		}
		l.rest = l.block[:n]
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}
