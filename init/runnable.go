package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
)

// runnable proves as far as it can be proven that the kernel can run a program
// of the tree in root: that a script's interpreter is there, that a binary is
// for this machine and that its dynamic loader is there. After the switch
// exec(2) would say so too, but then nothing is left to go back to. The error
// is ENOEXEC, or fs.ErrNotExist for what is missing.
func runnable(root string, r io.ReaderAt, size int64) error {
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
		return present(root, fields[0], "its interpreter")
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
		return fmt.Errorf("a program for another machine (ELF machine %d, this is %d): is this the tree of another architecture? %w",
			binary.LittleEndian.Uint16(head[18:]), binary.LittleEndian.Uint16(own[18:]), unix.ENOEXEC)
	}
	loader, err := elfLoader(r, head)
	if err != nil || loader == "" {
		return err
	}
	return present(root, loader, "its dynamic loader")
}

// Of a 64-bit ELF file, all little endian on the machines that Go's linux port
// and we know (elf(5)).
const (
	elfHeader  = 64
	elfProgram = 56
	ptInterp   = 3
	maxSegment = 128
)

// elfLoader is the path in PT_INTERP, empty for a static program.
func elfLoader(r io.ReaderAt, head []byte) (string, error) {
	offset, count := int64(binary.LittleEndian.Uint64(head[32:])), int64(binary.LittleEndian.Uint16(head[56:]))
	if size := binary.LittleEndian.Uint16(head[54:]); size != elfProgram || count > maxSegment || offset < 0 {
		return "", fmt.Errorf("a damaged binary (program headers of %d bytes): %w", size, unix.ENOEXEC)
	}
	for i := range count {
		segment := make([]byte, elfProgram)
		if _, err := r.ReadAt(segment, offset+i*elfProgram); err != nil {
			return "", fmt.Errorf("read its program headers: %w", err)
		}
		if binary.LittleEndian.Uint32(segment) != ptInterp {
			continue
		}
		length := binary.LittleEndian.Uint64(segment[32:])
		if length == 0 || length > unix.PathMax {
			return "", fmt.Errorf("a damaged binary (loader's path of %d bytes): %w", length, unix.ENOEXEC)
		}
		path := make([]byte, length)
		if _, err := r.ReadAt(path, int64(binary.LittleEndian.Uint64(segment[8:]))); err != nil {
			return "", fmt.Errorf("read its loader's path: %w", err)
		}
		return string(bytes.TrimRight(path, "\x00")), nil
	}
	return "", nil
}

// present makes sure that a program of the tree is there.
func present(root, name, what string) error {
	if err := tree.At(root).Executable(name); err != nil {
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
