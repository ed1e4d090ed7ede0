// Package zstd unpacks a file of the format Zstandard (RFC 8878) in memory. It does only
// what /init needs to unpack a kernel module: one frame that says its size, without a
// dictionary. The library's decoder would make /init 578 kB larger.
package zstd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
)

// Errors of Decode.
var (
	ErrDamaged     = errors.New("zstd: the data is damaged or incomplete")
	ErrUnsupported = errors.New("zstd: not one frame that has its size and needs no dictionary")
)

const (
	magic = 0xfd2fb528
	// maxBlock is how much one block may unpack to (RFC 8878, section 3.1.1.2.4).
	maxBlock = 128 << 10
	// slack is what is read behind the end of the data, and not used.
	slack = 8
)

// A decoder has what one block leaves to the next.
type decoder struct {
	src      []byte // With slack behind it.
	at, end  int    // What is still to be read of it.
	dst      []byte
	literals []byte // Of the block.
	huffman  []entry
	tables   [kinds][]entry
	offsets  [3]int
}

// Decode unpacks a file. It refuses one that unpacks to more than limit bytes before it
// reserves memory for them, and one whose checksum is wrong.
func Decode(file []byte, limit int) (data []byte, err error) {
	// Damage is found at many places. A panic is a third of the code that as many returns
	// would be, and a slice out of range is one of the places.
	defer func() {
		switch p := recover().(type) {
		case nil:
		case damage, runtime.Error:
			data, err = nil, ErrDamaged
		default:
			panic(p)
		}
	}()
	d := &decoder{src: append(file[:len(file):len(file)], make([]byte, slack)...), end: len(file), offsets: [3]int{1, 4, 8}}
	start := d.number(5)
	flags := byte(start >> 32)
	single := flags >> 5 & 1
	sizeBytes := 1 << (flags >> 6)
	// Neither a dictionary nor a bit of the future.
	if uint32(start) != magic || flags&0x0b != 0 || sizeBytes == 1 && single == 0 {
		return nil, ErrUnsupported
	}
	d.take(1 - int(single)) // The window: here all of what was unpacked is at hand.
	size := d.number(sizeBytes)
	if sizeBytes == 2 {
		size += 256
	}
	if size > uint64(limit) {
		return nil, fmt.Errorf("zstd: unpacks to %d bytes, more than %d", size, limit)
	}
	d.dst = make([]byte, 0, size)
	for !d.block() {
	}
	check(len(d.dst) == int(size))
	if flags>>2&1 != 0 {
		check(uint32(d.number(4)) == uint32(xxh64(d.dst)))
	}
	if d.at != d.end {
		return nil, ErrUnsupported // Another frame.
	}
	return d.dst, nil
}

// damage is the panic of check.
type damage struct{}

// check ends Decode where the data are damaged.
func check(ok bool) {
	if !ok {
		panic(damage{})
	}
}

// take passes over bytes of the data and gives where they begin.
func (d *decoder) take(n int) int {
	check(n <= d.end-d.at)
	d.at += n
	return d.at - n
}

// number reads a number of up to eight bytes.
func (d *decoder) number(bytes int) uint64 {
	return binary.LittleEndian.Uint64(d.src[d.take(bytes):]) << (64 - 8*bytes) >> (64 - 8*bytes)
}

// block unpacks a block (section 3.1.1.2).
func (d *decoder) block() (last bool) {
	header := d.number(3)
	size := int(header >> 3)
	check(size <= maxBlock)
	switch header >> 1 & 3 {
	case 0: // As it is.
		at := d.take(size)
		d.write(d.src[at : at+size])
	case 1: // One byte, repeated.
		d.write(d.run(size))
	case 2:
		frame := d.end
		d.end = d.take(size) + size
		d.at -= size
		d.readLiterals()
		d.sequences()
		d.end = frame
	default:
		check(false)
	}
	return header&1 != 0
}

// run is the next byte, repeated.
func (d *decoder) run(size int) []byte {
	p := make([]byte, size)
	c := d.src[d.take(1)]
	for i := range p {
		p[i] = c
	}
	return p
}

// write adds to what was unpacked.
func (d *decoder) write(p []byte) {
	check(len(p) <= cap(d.dst)-len(d.dst))
	d.dst = append(d.dst, p...)
}
