package initrd

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A header is that of one file in a cpio archive in the formats newc and crc
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type header struct {
	name           string
	ino            uint32
	mode           uint32
	uid, gid       uint32
	links          uint32
	mtime          uint32
	size           int64
	major, minor   uint32 // Of the file system that it was on.
	rmajor, rminor uint32 // Of the device that it is.
}

const (
	headerSize = 110
	// maxPath is PATH_MAX: the kernel leaves out what has a longer name.
	maxPath = 4096
	trailer = "TRAILER!!!"
)

var (
	errHeader = errors.New("no cpio header of the format newc")
	errOldc   = errors.New("a cpio archive in another format than newc, which the kernel does not unpack: make it with cpio -H newc")
)

// readHeader reads a header with the name behind it, up to where the data begin.
func readHeader(r io.Reader) (header, error) {
	var text [headerSize]byte
	if _, err := io.ReadFull(r, text[:]); err != nil {
		return header{}, err
	}
	switch magic := string(text[:6]); {
	case magic == "070707":
		return header{}, errOldc
	case magic != "070701" && magic != "070702":
		return header{}, errHeader
	}
	var raw [(headerSize - 6) / 2]byte
	if _, err := hex.Decode(raw[:], text[6:]); err != nil {
		return header{}, errHeader
	}
	field := func(i int) uint32 { return binary.BigEndian.Uint32(raw[4*i:]) }
	h := header{
		ino: field(0), mode: field(1), uid: field(2), gid: field(3), links: field(4), mtime: field(5), size: int64(field(6)),
		major: field(7), minor: field(8), rmajor: field(9), rminor: field(10),
	}
	length := int(field(11))
	if length == 0 || length > maxPath {
		return header{}, fmt.Errorf("a file name of %d bytes, where the kernel accepts 1 to %d", length, maxPath)
	}
	// The name is padded so that the data begin at a multiple of four.
	name := make([]byte, length+padding(headerSize+int64(length)))
	if _, err := io.ReadFull(r, name); err != nil {
		return header{}, unexpected(err)
	}
	if name[length-1] != 0 {
		return header{}, errors.New("a file name that does not end")
	}
	h.name, _, _ = strings.Cut(string(name[:length]), "\x00")
	return h, nil
}

// padding is what is missing to a multiple of four.
func padding(n int64) int { return int((4 - n%4) % 4) }

// unexpected is an error of something that is cut short.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
