package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"strings"
)

// An arch is what a program or a module is built for.
type arch struct {
	machine elf.Machine
	class   elf.Class
	data    elf.Data
}

func archOf(f *elf.File) arch { return arch{f.Machine, f.Class, f.Data} }

func (a arch) String() string {
	bits, order := "64-bit", "little"
	if a.class == elf.ELFCLASS32 {
		bits = "32-bit"
	}
	if a.data == elf.ELFDATA2MSB {
		order = "big"
	}
	return fmt.Sprintf("%s (%s, %s endian)", strings.TrimPrefix(a.machine.String(), "EM_"), bits, order)
}

// openModule refuses what the kernel would refuse for being no module at all.
func openModule(data []byte) (*elf.File, error) {
	if len(data) == 0 {
		return nil, errors.New("an empty file")
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
		return arch{}, errors.New("is a script, and an image has nothing to run it")
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN || f.Entry == 0 {
		return arch{}, errors.New("is not a program")
	}
	loads := 0
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			return arch{}, errors.New("is linked dynamically and will not start")
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

// firmwareNames gives the files that a module says it may ask for, out of its
// .modinfo section.
func firmwareNames(f *elf.File) ([]string, error) {
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var names []string
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if name, ok := strings.CutPrefix(string(field), "firmware="); ok && name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// imports gives the symbols that a module asks the kernel for.
func imports(f *elf.File) (map[string]bool, error) {
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, err
	}
	names := make(map[string]bool)
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF && s.Name != "" {
			names[s.Name] = true
		}
	}
	return names, nil
}
