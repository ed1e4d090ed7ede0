package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Flags of a section that is data (IMAGE_SCN_CNT_INITIALIZED_DATA and
// IMAGE_SCN_MEM_READ in the PE specification).
const dataSection = 0x40000040

// Offsets in the optional header of PE32+, which debug/pe reads but does not write.
const (
	initializedDataAt = 8
	imageSizeAt       = 56
	checksumAt        = 64
	sectionEntry      = 40 // Bytes of an entry in the table of sections.
	// symbolsBefore is where the header of the file, which ends where the optional one
	// begins, has the place and the number of symbols.
	symbolsBefore = 12
)

// pageSize is how sections are aligned in memory. Some stubs say less, and not
// every firmware takes that.
const pageSize = 0x1000

// A section is one that is added to the stub.
type section struct {
	name string
	data []byte
}

// A stub is the EFI program that the sections are put behind.
type stub struct {
	file    []byte
	pe      *pe.File
	header  *pe.OptionalHeader64
	table   int // Where the table of sections begins.
	headers int // Where the optional header begins.
}

// readStub reads an EFI program.
func readStub(file []byte) (*stub, error) {
	f, err := pe.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("not an EFI program: %w", err)
	}
	header, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok {
		return nil, errors.New("not an EFI program for a 64-bit processor")
	}
	// debug/pe has read the headers, so they are inside the file.
	at := int(binary.LittleEndian.Uint32(file[0x3c:])) + 4 + binary.Size(f.FileHeader)
	s := &stub{file: file, pe: f, header: header, headers: at, table: at + int(f.SizeOfOptionalHeader)}
	switch {
	case len(f.Sections) == 0:
		return nil, errors.New("not an EFI program: it has no sections")
	case header.FileAlignment == 0 || header.FileAlignment > 1<<16 || header.SectionAlignment == 0 || header.SectionAlignment > 1<<21:
		return nil, fmt.Errorf("not an EFI program: its alignments are %d and %d", header.FileAlignment, header.SectionAlignment)
	case header.NumberOfRvaAndSizes > 4 && header.DataDirectory[4].Size > 0:
		return nil, errors.New("it is signed, and adding sections makes the signature invalid: give a stub without a signature")
	}
	return s, nil
}

// machine is what the program runs on, as Debian calls it; empty: something else.
func (s *stub) machine() string {
	switch s.pe.Machine {
	case pe.IMAGE_FILE_MACHINE_AMD64:
		return "amd64"
	case pe.IMAGE_FILE_MACHINE_ARM64:
		return "arm64"
	}
	return ""
}

// magic is what systemd's stubs say of themselves: "systemd-stub 252.39-1".
func (s *stub) magic() string {
	section := s.pe.Section(".sdmagic")
	if section == nil {
		return ""
	}
	data, err := section.Data()
	if err != nil {
		return ""
	}
	text := strings.TrimRight(string(data), "\x00")
	text = strings.TrimSpace(strings.Trim(text, "#"))
	return strings.TrimSpace(strings.TrimPrefix(text, "LoaderInfo:"))
}

// end is where the file ends without its table of symbols, if that is behind the
// sections: signing tools warn of what is between sections and belongs to none.
func (s *stub) end() int {
	end := 0
	for _, have := range s.pe.Sections {
		end = max(end, int(have.Offset)+int(have.Size))
	}
	if symbols := int(s.pe.PointerToSymbolTable); symbols == 0 || symbols < end || end > len(s.file) {
		return len(s.file)
	}
	return end
}

// isFill tells whether there is nothing in a part of the headers: zeros, or what the
// assembler fills up code of arm64 with, as in the stub of systemd 252 (nop, 0xd503201f).
func (s *stub) isFill(part []byte) bool {
	words := bytes.TrimLeft(part, "\x00")
	if s.machine() == "arm64" && len(words) == len(part) {
		for bytes.HasPrefix(words, []byte("\x1f\x20\x03\xd5")) {
			words = words[4:]
		}
	}
	return len(words) == 0
}

func alignUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// with is the program with sections added, in their order.
func (s *stub) with(sections []section) ([]byte, error) {
	first := uint64(s.header.SizeOfHeaders)
	end := uint64(0) // Of the sections in memory.
	for _, have := range s.pe.Sections {
		if have.Offset > 0 {
			first = min(first, uint64(have.Offset))
		}
		end = max(end, uint64(have.VirtualAddress)+uint64(max(have.VirtualSize, have.Size)))
		for _, add := range sections {
			if add.name == have.Name {
				return nil, fmt.Errorf("it has a section %s already: give a stub, not a unified kernel image", add.name)
			}
		}
	}
	count := len(s.pe.Sections)
	tableEnd := uint64(s.table + sectionEntry*(count+len(sections)))
	if tableEnd > first || tableEnd > uint64(len(s.file)) {
		return nil, fmt.Errorf("its headers have space for %d more sections, and %d are needed: give a newer stub", max(0, (int(first)-s.table)/sectionEntry-count), len(sections))
	}
	if !s.isFill(s.file[s.table+sectionEntry*count : tableEnd]) {
		return nil, errors.New("its headers have unknown data after the table of sections: give another stub")
	}
	out := bytes.NewBuffer(bytes.Clone(s.file[:s.end()]))

	added := make([]byte, 0, sectionEntry*len(sections))
	size, align := uint64(s.header.SizeOfInitializedData), uint64(s.header.FileAlignment)
	pad := func() { out.Write(make([]byte, alignUp(uint64(out.Len()), align)-uint64(out.Len()))) }
	for _, add := range sections {
		pad()
		address := alignUp(end, max(pageSize, uint64(s.header.SectionAlignment)))
		end = address + uint64(len(add.data))
		raw := alignUp(uint64(len(add.data)), align)
		if end > math.MaxInt32 || uint64(out.Len())+raw > math.MaxInt32 {
			return nil, fmt.Errorf("with section %s it is larger than 2 GiB, the most that an EFI program can be", add.name)
		}
		var entry [sectionEntry]byte
		copy(entry[:8], add.name)
		binary.LittleEndian.PutUint32(entry[8:], uint32(len(add.data)))
		binary.LittleEndian.PutUint32(entry[12:], uint32(address))
		binary.LittleEndian.PutUint32(entry[16:], uint32(raw))
		binary.LittleEndian.PutUint32(entry[20:], uint32(out.Len()))
		binary.LittleEndian.PutUint32(entry[36:], dataSection)
		added = append(added, entry[:]...)
		out.Write(add.data)
		size += raw
	}
	pad()
	head := out.Bytes()
	if s.end() < len(s.file) {
		clear(head[s.headers-symbolsBefore : s.headers-symbolsBefore+8])
	}
	copy(head[s.table+sectionEntry*count:], added)
	binary.LittleEndian.PutUint16(head[s.headers-binary.Size(s.pe.FileHeader)+2:], uint16(count+len(sections)))
	binary.LittleEndian.PutUint32(head[s.headers+initializedDataAt:], uint32(min(size, math.MaxUint32)))
	binary.LittleEndian.PutUint32(head[s.headers+imageSizeAt:], uint32(alignUp(end, uint64(s.header.SectionAlignment))))
	// EFI does not look at it, and 0 means that there is none.
	binary.LittleEndian.PutUint32(head[s.headers+checksumAt:], 0)
	return head, nil
}
