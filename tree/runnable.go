package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// runnable returns nil if, as far as can be known without running it, the kernel
// can run a program of the tree: a script's interpreter is there, a binary is for
// this machine and its dynamic loader is there. After the switch exec(2) would say
// so too, but then there is nothing to go back to. The error is ENOEXEC, or
// fs.ErrNotExist for what is missing.
func (t Tree) runnable(r io.ReaderAt, size int64) error {
	head := make([]byte, min(size, 256))
	if _, err := r.ReadAt(head, 0); err != nil {
		return err
	}
	if bytes.HasPrefix(head, []byte("#!")) {
		line, _, _ := strings.Cut(string(head[2:]), "\n")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			return fmt.Errorf("a script without an interpreter: %w", unix.ENOEXEC)
		}
		return t.present(fields[0], "its interpreter")
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	own := make([]byte, elfHeader)
	if _, err := self.ReadAt(own, 0); err != nil {
		return err
	}
	if len(head) < elfHeader {
		return fmt.Errorf("a binary of %d bytes: %w", size, unix.ENOEXEC)
	}
	// Class, byte order and machine (elf(5): EI_CLASS, EI_DATA, e_machine).
	if !bytes.Equal(head[4:6], own[4:6]) || !bytes.Equal(head[18:20], own[18:20]) {
		if err := runs32(head); err != nil {
			return fmt.Errorf("a program for another machine (ELF machine %d, %d bits; this one is %d, 64 bits): boot a tree of this architecture: %w",
				binary.LittleEndian.Uint16(head[18:]), 32*int(head[4]), binary.LittleEndian.Uint16(own[18:]), errors.Join(err, unix.ENOEXEC))
		}
	}
	loader, err := elfLoader(r, head)
	if err != nil || loader == "" {
		return err
	}
	return t.present(loader, "its dynamic loader")
}

// elfHeader is the size of a 64-bit ELF file's header, and more than that of a
// 32-bit one.
const (
	elfHeader  = 64
	ptInterp   = 3
	maxSegment = 128
)

// An elfLayout is where the fields that are needed lie in an ELF file of a class
// (elf(5)), all little endian, as on the machines that we build for.
type elfLayout struct {
	width                   int // bytes of an offset
	offset, size, count     int // of the program headers, in the header
	header                  int // bytes of a program header
	fileOffset, sizeInBytes int // of a segment, in its program header
}

var (
	layout64 = elfLayout{width: 8, offset: 32, size: 54, count: 56, header: 56, fileOffset: 8, sizeInBytes: 32}
	layout32 = elfLayout{width: 4, offset: 28, size: 42, count: 44, header: 32, fileOffset: 4, sizeInBytes: 16}
)

// number is an offset or a size, which has the width of the class.
func (l elfLayout) number(b []byte) uint64 {
	if l.width == 4 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// elfLoader is the path in PT_INTERP, empty for a static program.
func elfLoader(r io.ReaderAt, head []byte) (string, error) {
	l := layout64
	if head[4] == elfClass32 {
		l = layout32
	}
	offset, count := int64(l.number(head[l.offset:])), int64(binary.LittleEndian.Uint16(head[l.count:]))
	if size := int(binary.LittleEndian.Uint16(head[l.size:])); size != l.header || count > maxSegment || offset < 0 {
		return "", fmt.Errorf("a damaged binary (program headers of %d bytes): %w", size, unix.ENOEXEC)
	}
	for i := range count {
		segment := make([]byte, l.header)
		if _, err := r.ReadAt(segment, offset+i*int64(l.header)); err != nil {
			return "", fmt.Errorf("read its program headers: %w", err)
		}
		if binary.LittleEndian.Uint32(segment) != ptInterp {
			continue
		}
		length := l.number(segment[l.sizeInBytes:])
		if length == 0 || length > unix.PathMax {
			return "", fmt.Errorf("a damaged binary (path of its loader: %d bytes): %w", length, unix.ENOEXEC)
		}
		path := make([]byte, length)
		if _, err := r.ReadAt(path, int64(l.number(segment[l.fileOffset:]))); err != nil {
			return "", fmt.Errorf("read its loader's path: %w", err)
		}
		return string(bytes.TrimRight(path, "\x00")), nil
	}
	return "", nil
}

// present makes sure that a program of the tree is there.
func (t Tree) present(name, what string) error {
	if err := t.Executable(name); err != nil {
		return fmt.Errorf("%s %s cannot be run: %w", what, name, notExist(err))
	}
	return nil
}

// notExist makes any kind of absence fs.ErrNotExist.
func notExist(err error) error {
	if os.IsNotExist(err) {
		return fs.ErrNotExist
	}
	return err
}
