package initrd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// decompress unpacks a file that its name says is compressed. Images hold
// modules and firmware plain: finit_module needs no flag then, any kernel has
// the means, and one compressor over all does better.
func decompress(name string, data []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch {
	case strings.HasSuffix(name, ".xz"):
		if err := checkXz(data); err != nil {
			return nil, err
		}
		r, err = xz.NewReader(bytes.NewReader(data))
	case strings.HasSuffix(name, ".zst"):
		var d *zstd.Decoder
		// One goroutine for each file: several files are read at the same time already.
		d, err = zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxFile), zstd.WithDecoderMaxWindow(maxDictionary))
		if err == nil {
			defer d.Close()
			r = d
		}
	case strings.HasSuffix(name, ".gz"):
		r, err = gzip.NewReader(bytes.NewReader(data))
	default:
		return data, nil
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(min(6*len(data), maxFile))
	n, err := io.Copy(&b, io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if n > maxFile {
		return nil, fmt.Errorf("more than %d MB unpacked", maxFile>>20)
	}
	return b.Bytes(), nil
}

// maxDictionary is the most memory that unpacking may want to look back into
// (xz -9 and zstd --ultra -22 want 64 and 128 MiB).
const maxDictionary = 128 << 20

// xzFilters are the filters of the .xz format, section 5.3, but for LZMA2, which
// is the only one that the library unpacks.
var xzFilters = map[byte]string{
	0x03: "delta", 0x04: "x86", 0x05: "PowerPC", 0x06: "IA-64", 0x07: "ARM", 0x08: "ARM Thumb", 0x09: "SPARC", 0x0a: "ARM64", 0x0b: "RISC-V",
}

const lzma2Filter = 0x21

// checkXz looks at the first block's header (the .xz format, section 3.1) for
// what the library would refuse without saying why, or would reserve memory for.
// What is no header is left to the library.
func checkXz(data []byte) error {
	if len(data) < xzStreamHeader+2 || data[xzStreamHeader] == 0 {
		return nil // No block.
	}
	return checkXzBlock(data[xzStreamHeader:])
}

// checkXzBlock is checkXz for a block that begins with its header.
func checkXzBlock(header []byte) error {
	header = header[:min(len(header), 4*(int(header[0])+1))]
	filters := int(header[1]&0x03) + 1
	rest := header[2:]
	for _, present := range []byte{0x40, 0x80} { // Sizes, packed and unpacked.
		if header[1]&present != 0 {
			_, n := binary.Uvarint(rest)
			if n <= 0 {
				return nil
			}
			rest = rest[n:]
		}
	}
	for range filters {
		if len(rest) < 2 {
			return nil
		}
		id, size := rest[0], int(rest[1])
		if len(rest) < 2+size {
			return nil
		}
		properties := rest[2 : 2+size]
		rest = rest[2+size:]
		switch name := xzFilters[id]; {
		case name != "" && id == 0x03:
			return errors.New("compressed by xz with the delta filter, which is not supported: compress it again without that filter (unxz FILE.xz; xz --check=crc32 FILE)")
		case name != "":
			return fmt.Errorf("compressed by xz with the filter for %s code (BCJ), which is not supported: compress it again without that filter (unxz FILE.xz; xz --check=crc32 FILE)", name)
		case id == lzma2Filter && size == 1:
			if want := xzDictionary(properties[0]); want > maxDictionary {
				return fmt.Errorf("compressed by xz with a dictionary of %d MB, more than %d: compress it again (unxz FILE.xz; xz --check=crc32 FILE)", want>>20, maxDictionary>>20)
			}
		}
	}
	return nil
}

// xzDictionary is the size of LZMA2's dictionary (section 5.3.1).
func xzDictionary(bits byte) uint64 {
	bits &= 0x3f
	return uint64(2|bits&1) << (bits/2 + 11)
}
