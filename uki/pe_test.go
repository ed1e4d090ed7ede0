package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// program makes an EFI program with room for more sections. edit may damage it.
func program(magic string, edit ...func(*pe.FileHeader, *pe.OptionalHeader64)) []byte {
	const headers, align = 0x400, 0x200
	sections := []struct {
		name, data string
	}{{".text", strings.Repeat("\xc3", 700)}, {".sdmagic", magic + "\x00"}}
	file := pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: uint16(len(sections)), SizeOfOptionalHeader: 240, Characteristics: 0x206}
	header := pe.OptionalHeader64{
		Magic: 0x20b, SizeOfHeaders: headers, SectionAlignment: align, FileAlignment: align, AddressOfEntryPoint: 0x1000,
		SizeOfInitializedData: align, Subsystem: 10, NumberOfRvaAndSizes: 16, SizeOfImage: 0x3000,
	}
	for _, e := range edit {
		e(&file, &header)
	}
	var b, body bytes.Buffer
	b.WriteString("MZ")
	b.Write(make([]byte, 0x3a))
	_ = binary.Write(&b, binary.LittleEndian, uint32(0x40))
	b.WriteString("PE\x00\x00")
	_ = binary.Write(&b, binary.LittleEndian, file)
	_ = binary.Write(&b, binary.LittleEndian, header)
	for i, s := range sections {
		entry := pe.SectionHeader32{VirtualSize: uint32(len(s.data)), VirtualAddress: uint32(0x1000 * (i + 1)),
			SizeOfRawData: uint32(alignUp(uint64(len(s.data)), align)), PointerToRawData: uint32(headers + body.Len()), Characteristics: dataSection}
		copy(entry.Name[:], s.name)
		_ = binary.Write(&b, binary.LittleEndian, entry)
		body.WriteString(s.data)
		body.Write(make([]byte, int(entry.SizeOfRawData)-len(s.data)))
	}
	b.Write(make([]byte, headers-b.Len()))
	return append(b.Bytes(), body.Bytes()...)
}

const magic252 = "#### LoaderInfo: systemd-stub 252.39-1 ####"

// What is written is read back by debug/pe: the old sections as they were, the new
// ones behind them, none over another.
func TestWith(t *testing.T) {
	old := program(magic252)
	s, err := readStub(old)
	if err != nil {
		t.Fatal(err)
	}
	if s.magic() != "systemd-stub 252.39-1" || stubVersion(s.magic()) != 252 || s.machine() != "amd64" {
		t.Errorf("magic %q, version %d, machine %s", s.magic(), stubVersion(s.magic()), s.machine())
	}
	added := []section{{".osrel", []byte("ID=x\n")}, {".empty", nil}, {".linux", bytes.Repeat([]byte("k"), 5000)}, {".initrd", bytes.Repeat([]byte("i"), 512)}}
	file, err := s.with(added)
	if err != nil {
		t.Fatal(err)
	}
	checkSections(t, file, old, added)
	again, err := s.with(added)
	if err != nil || !bytes.Equal(file, again) {
		t.Errorf("a second time other bytes come out (%v)", err)
	}
	if !bytes.Equal(old, program(magic252)) {
		t.Error("the stub itself was changed")
	}
}

// checkSections reads a program and compares its sections with those of the stub and
// those that were added.
func checkSections(t *testing.T, file, stub []byte, added []section) {
	t.Helper()
	f, err := pe.NewFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	before, err := pe.NewFile(bytes.NewReader(stub))
	if err != nil {
		t.Fatal(err)
	}
	header := f.OptionalHeader.(*pe.OptionalHeader64)
	if len(f.Sections) != len(before.Sections)+len(added) {
		t.Fatalf("%d sections, want %d and %d", len(f.Sections), len(before.Sections), len(added))
	}
	end := uint32(0)
	for i, s := range f.Sections {
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		if i < len(before.Sections) {
			old, err := before.Sections[i].Data()
			if err != nil || s.Name != before.Sections[i].Name || !bytes.Equal(data, old) {
				t.Errorf("section %s was changed (%v)", s.Name, err)
			}
		} else {
			want := added[i-len(before.Sections)]
			if s.Name != want.name || s.VirtualSize != uint32(len(want.data)) || !bytes.Equal(data[:s.VirtualSize], want.data) {
				t.Errorf("section %s of %d bytes, want %s of %d", s.Name, s.VirtualSize, want.name, len(want.data))
			}
			if s.VirtualAddress%pageSize != 0 || s.VirtualAddress < end || s.Offset%header.FileAlignment != 0 {
				t.Errorf("section %s at %#x and in the file at %#x; the one before ends at %#x", s.Name, s.VirtualAddress, s.Offset, end)
			}
		}
		end = max(end, s.VirtualAddress+s.VirtualSize)
	}
	if header.SizeOfImage < end || header.SizeOfImage%header.SectionAlignment != 0 {
		t.Errorf("size of the image %#x, want at least %#x", header.SizeOfImage, end)
	}
}

func TestStubErrors(t *testing.T) {
	for want, file := range map[string][]byte{
		"not an EFI program":            []byte("#!/bin/sh\n"),
		"not an EFI program: ":          program(magic252)[:0x100],
		"it is signed":                  program("", func(_ *pe.FileHeader, h *pe.OptionalHeader64) { h.DataDirectory[4].Size = 8 }),
		"its alignments are 0":          program("", func(_ *pe.FileHeader, h *pe.OptionalHeader64) { h.FileAlignment = 0 }),
		"its alignments are 512 and 0":  program("", func(_ *pe.FileHeader, h *pe.OptionalHeader64) { h.SectionAlignment = 0 }),
		"it has no sections":            program("", func(f *pe.FileHeader, _ *pe.OptionalHeader64) { f.NumberOfSections = 0 }),
		"it has a section .text alread": program(""),
		"have space for 15 more":        program("x"),
	} {
		s, err := readStub(file)
		if err == nil {
			add := []section{{".text", nil}}
			if strings.Contains(want, "space") {
				add = slices.Repeat([]section{{".profile", nil}}, 16)
			}
			_, err = s.with(add)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestRealStub puts sections behind Debian's stub and has binutils read them.
func TestRealStub(t *testing.T) {
	old, err := os.ReadFile("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
	if err != nil {
		t.Skip(err)
	}
	objdump, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip(err)
	}
	s, err := readStub(old)
	if err != nil {
		t.Fatal(err)
	}
	added := []section{{".osrel", []byte("ID=x\n")}, {".cmdline", []byte("quiet")}, {".initrd", make([]byte, 70000)}, {".linux", make([]byte, 90000)}}
	file, err := s.with(added)
	if err != nil {
		t.Fatal(err)
	}
	checkSections(t, file, old, added)
	name := filepath.Join(t.TempDir(), "sidus.efi")
	if err := os.WriteFile(name, file, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-h", "-p", name).CombinedOutput()
	if err != nil {
		t.Fatalf("objdump: %v\n%s", err, out)
	}
	for _, want := range []string{".osrel ", ".cmdline ", ".initrd ", ".linux ", "(EFI application)", "pei-x86-64"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("objdump does not say %q:\n%s", want, out)
		}
	}
	if sbverify, err := exec.LookPath("sbverify"); err == nil {
		if out, _ := exec.Command(sbverify, "--list", name).CombinedOutput(); strings.Contains(string(out), "warning") {
			t.Errorf("sbverify warns:\n%s", out)
		}
	}
	if strings.Contains(string(out), "warning") {
		t.Errorf("objdump warns:\n%s", out)
	}
}

// Whatever a stub is, it is an error or has the sections in the end.
func FuzzStub(f *testing.F) {
	f.Add(program(magic252))
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := readStub(file)
		if err != nil {
			return
		}
		s.magic()
		out, err := s.with([]section{{".linux", []byte("kernel")}})
		if err != nil {
			return
		}
		again, err := pe.NewFile(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		last := again.Sections[len(again.Sections)-1]
		if data, err := last.Data(); err != nil || last.Name != ".linux" || !bytes.HasPrefix(data, []byte("kernel")) {
			t.Errorf("the last section is %s with %q (%v)", last.Name, data, err)
		}
	})
}
