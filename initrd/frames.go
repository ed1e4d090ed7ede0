package initrd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frame passes on one frame of a compressed format and ends behind it, where the
// decoders of the libraries would read on: they take what follows for more of
// their own, or read ahead.
type frame struct {
	src *source
	// head has been read to find the length of what follows, and is passed on.
	head []byte
	// body is how many bytes follow that need not be looked at.
	body int64
	// next reads the next head; nil at the end.
	next func() error
}

func (f *frame) Read(p []byte) (int, error) {
	for {
		switch {
		case len(p) == 0:
			return 0, nil
		case len(f.head) > 0:
			n := copy(p, f.head)
			f.head = f.head[n:]
			return n, nil
		case f.body > 0:
			n, err := f.src.Read(p[:min(int64(len(p)), f.body)])
			f.body -= int64(n)
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		case f.next == nil:
			return 0, io.EOF
		}
		if err := f.next(); err != nil {
			return 0, err
		}
	}
}

// read reads n bytes of a head.
func (f *frame) read(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(f.src, b); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	f.head = append(f.head, b...)
	return b, nil
}

// newZstdFrame reads a frame of RFC 8878.
func newZstdFrame(src *source) *frame {
	f := &frame{src: src}
	f.next = func() error {
		b, err := f.read(5) // Magic number, descriptor.
		if err != nil {
			return err
		}
		descriptor := b[4]
		single, checksum := descriptor&0x20 != 0, descriptor&0x04 != 0
		n := []int{0, 1, 2, 4}[descriptor&0x03]
		if !single {
			n++ // The window's size.
		}
		switch size := descriptor >> 6; {
		case size > 0:
			n += 1 << size
		case single:
			n++
		}
		if _, err := f.read(n); err != nil {
			return err
		}
		f.next = func() error { return f.zstdBlock(checksum) }
		return nil
	}
	return f
}

func (f *frame) zstdBlock(checksum bool) error {
	b, err := f.read(3)
	if err != nil {
		return err
	}
	header := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	f.body = int64(header >> 3)
	switch header >> 1 & 3 {
	case 1:
		f.body = 1 // One byte, repeated.
	case 3:
		return errors.New("zstd: a block of no known type")
	}
	if header&1 != 0 {
		f.next = nil
		if checksum {
			f.body += 4
		}
	}
	return nil
}

// newXzFrame reads a stream of the .xz format, version 1.1.0, with blocks of LZMA2.
func newXzFrame(src *source) *frame {
	f := &frame{src: src}
	f.next = func() error {
		b, err := f.read(xzStreamHeader)
		if err != nil {
			return err
		}
		check := []int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[b[7]&0x0f]
		f.next = func() error { return f.xzBlock(check) }
		return nil
	}
	return f
}

const xzStreamHeader = 12

// xzBlock reads the header of a block, or the index that follows the last one.
func (f *frame) xzBlock(check int64) error {
	b, err := f.read(1)
	if err != nil {
		return err
	}
	if b[0] == 0 {
		return f.xzIndex()
	}
	rest, err := f.read(4*(int(b[0])+1) - 1)
	if err != nil {
		return err
	}
	if err := checkXzBlock(append(b, rest...)); err != nil {
		return err
	}
	f.next = func() error { return f.xzChunk(0, check) }
	return nil
}

// xzChunk reads the header of a chunk of LZMA2. done is the size of the block so
// far, which is padded to four bytes.
func (f *frame) xzChunk(done, check int64) error {
	b, err := f.read(1)
	if err != nil {
		return err
	}
	control := b[0]
	done++
	switch {
	case control == 0:
		f.body = (4-done%4)%4 + check
		f.next = func() error { return f.xzBlock(check) }
		return nil
	case control < 0x03:
		if b, err = f.read(2); err != nil {
			return err
		}
		f.body = int64(binary.BigEndian.Uint16(b)) + 1
		done += 2
	case control < 0x80:
		return fmt.Errorf("xz: a chunk of no known type (%#x)", control)
	default:
		if b, err = f.read(4); err != nil {
			return err
		}
		f.body = int64(binary.BigEndian.Uint16(b[2:])) + 1
		if control >= 0xc0 {
			f.body++ // Properties.
		}
		done += 4
	}
	done += f.body
	f.next = func() error { return f.xzChunk(done, check) }
	return nil
}

// xzIndex reads the index behind its first byte, and the footer.
func (f *frame) xzIndex() error {
	size := 1
	number := func() (n uint64, err error) {
		for shift := 0; shift < 63; shift += 7 {
			b, err := f.read(1)
			if err != nil {
				return 0, err
			}
			size++
			n |= uint64(b[0]&0x7f) << shift
			if b[0]&0x80 == 0 {
				return n, nil
			}
		}
		return 0, errors.New("xz: a number in the index is too large")
	}
	blocks, err := number()
	if err != nil {
		return err
	}
	// Each block was passed on, so there are not more records than bytes.
	if blocks > uint64(f.src.offset) {
		return errors.New("xz: the index has more blocks than the stream")
	}
	for range 2 * blocks {
		if _, err := number(); err != nil {
			return err
		}
	}
	f.body = int64((4-size%4)%4 + 4 + 12)
	f.next = nil
	return nil
}
