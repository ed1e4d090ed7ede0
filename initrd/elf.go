package initrd

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// openModule refuses what the kernel would refuse for being no module at all.
func openModule(data []byte) (*elf.File, error) {
	if len(data) == 0 {
		return nil, errors.New("an empty file")
	}
	if err := checkSectionNames(data); err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("not a whole ELF file (%w)", err)
	}
	if f.Type != elf.ET_REL {
		return nil, errors.New("not a kernel module")
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && s.Offset+s.FileSize > uint64(len(data)) {
			return nil, fmt.Errorf("cut short in section %s", s.Name)
		}
	}
	return f, nil
}

// openProgram refuses what could not run in an image, where there is no
// interpreter and no library.
func openProgram(data []byte) (arch, error) {
	if len(data) == 0 {
		return arch{}, errors.New("is empty")
	}
	if bytes.HasPrefix(data, []byte("#!")) {
		return arch{}, errors.New("is a script, and the image has no interpreter to run it")
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN || f.Entry == 0 {
		return arch{}, errors.New("is not a program")
	}
	loads := 0
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			return arch{}, errors.New("is linked dynamically and cannot start: the image has no libraries")
		case elf.PT_LOAD:
			loads++
			if p.Off+p.Filesz > uint64(len(data)) {
				return arch{}, errors.New("is cut short")
			}
		}
	}
	if loads == 0 {
		return arch{}, errors.New("is not a program")
	}
	return archOf(f), nil
}

// maxNames is the most that the names of a module's sections come to, and its
// .modinfo: the largest of Debian's have some 200 kB.
const maxNames = 4 << 20

// checkSectionNames refuses section names that would take more memory than the
// file: debug/elf unpacks the table of names where it is compressed, and copies
// each name out of it, however long, for each section.
func checkSectionNames(data []byte) error {
	table, err := readSectionTable(data)
	if err != nil {
		return err
	}
	if table == nil {
		return nil // debug/elf says what is wrong.
	}
	names := table.sections[table.names]
	if names.flags&uint64(elf.SHF_COMPRESSED) != 0 {
		return errors.New("its section names are compressed, which no kernel loads")
	}
	if names.offset > uint64(len(data)) || names.size > uint64(len(data))-names.offset {
		return errors.New("not a whole ELF file (no section names)")
	}
	text := data[names.offset : names.offset+names.size]
	total := 0
	for _, s := range table.sections {
		if uint64(s.name) >= uint64(len(text)) {
			continue
		}
		n := bytes.IndexByte(text[s.name:], 0)
		if n < 0 {
			n = len(text) - int(s.name)
		}
		if total += n; total > maxNames {
			return errors.New("its section names are too long for a module")
		}
	}
	return nil
}

// A sectionTable is as much of an ELF file's sections as checkSectionNames needs.
type sectionTable struct {
	sections []sectionHeader
	names    int // The section with the names.
}

type sectionHeader struct {
	name                uint32
	flags, offset, size uint64
}

// readSectionTable gives nil for what is no ELF file, or one with more sections
// than a header can count.
func readSectionTable(data []byte) (*sectionTable, error) {
	if len(data) < 64 || string(data[:4]) != elf.ELFMAG {
		return nil, nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if data[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		order = binary.BigEndian
	}
	var start uint64
	var size, count, names int
	wide := data[elf.EI_CLASS] == byte(elf.ELFCLASS64)
	if wide {
		start = order.Uint64(data[40:])
		size, count, names = int(order.Uint16(data[58:])), int(order.Uint16(data[60:])), int(order.Uint16(data[62:]))
	} else {
		start = uint64(order.Uint32(data[32:]))
		size, count, names = int(order.Uint16(data[46:])), int(order.Uint16(data[48:])), int(order.Uint16(data[50:]))
	}
	if count == 0 || names >= count || names >= int(elf.SHN_LORESERVE) {
		if start == 0 {
			return nil, nil
		}
		// Over 65,279 sections, counted elsewhere (SHN_XINDEX).
		return nil, errors.New("it has no sections, or more than a module can have")
	}
	least := 40
	if wide {
		least = 64
	}
	if size < least || start > uint64(len(data)) || uint64(size*count) > uint64(len(data))-start {
		return nil, nil
	}
	t := &sectionTable{names: names}
	for i := range count {
		h := data[start+uint64(i*size):]
		s := sectionHeader{name: order.Uint32(h)}
		if wide {
			s.flags, s.offset, s.size = order.Uint64(h[8:]), order.Uint64(h[24:]), order.Uint64(h[32:])
		} else {
			s.flags, s.offset, s.size = uint64(order.Uint32(h[8:])), uint64(order.Uint32(h[16:])), uint64(order.Uint32(h[20:]))
		}
		t.sections = append(t.sections, s)
	}
	return t, nil
}

// sectionData is what a section has in the file. The kernel unpacks none, and
// neither is it done here.
func sectionData(s *elf.Section, limit uint64) ([]byte, error) {
	switch {
	case s.Type == elf.SHT_NOBITS:
		return nil, nil
	case s.Flags&elf.SHF_COMPRESSED != 0:
		return nil, fmt.Errorf("its section %s is compressed, which no kernel loads", s.Name)
	case s.FileSize > limit:
		return nil, fmt.Errorf("its section %s has %d bytes, more than %d", s.Name, s.FileSize, limit)
	}
	data := make([]byte, s.FileSize)
	n, err := s.ReaderAt.ReadAt(data, 0)
	if n == len(data) {
		err = nil
	}
	return data, err
}

// firmwareNames gives the files that a module says it may ask for, out of its
// .modinfo section.
func firmwareNames(f *elf.File) ([]string, error) {
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil
	}
	info, err := sectionData(section, maxNames)
	if err != nil {
		return nil, err
	}
	var names []string
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if name, ok := strings.CutPrefix(string(field), "firmware="); ok && name != "" {
			names = append(names, name)
		}
	}
	if len(names) > maxFirmware {
		return nil, fmt.Errorf("it asks for %d firmware files, more than %d", len(names), maxFirmware)
	}
	return names, nil
}

// maxFirmware is how many files a module may name: Debian's name up to 150.
const maxFirmware = 4096

// maxSymbol is the longest name of a symbol of the kernel (KSYM_NAME_LEN).
const maxSymbol = 512

// imports gives the symbols that a module asks the kernel for.
func imports(f *elf.File) (map[string]bool, error) {
	names := make(map[string]bool)
	table := f.SectionByType(elf.SHT_SYMTAB)
	if table == nil {
		return names, nil
	}
	if int(table.Link) >= len(f.Sections) {
		return nil, errors.New("its symbols have no names")
	}
	symbols, err := sectionData(table, maxFile)
	if err != nil {
		return nil, err
	}
	text, err := sectionData(f.Sections[table.Link], maxFile)
	if err != nil {
		return nil, err
	}
	size, section := elf.Sym64Size, 6
	if f.Class == elf.ELFCLASS32 {
		size, section = elf.Sym32Size, 14
	}
	for ; len(symbols) >= size; symbols = symbols[size:] {
		name := uint64(f.ByteOrder.Uint32(symbols))
		if elf.SectionIndex(f.ByteOrder.Uint16(symbols[section:])) != elf.SHN_UNDEF || name >= uint64(len(text)) {
			continue
		}
		word := text[name:min(name+maxSymbol, uint64(len(text)))]
		if n := bytes.IndexByte(word, 0); n > 0 {
			names[string(word[:n])] = true
		}
	}
	return names, nil
}
