package uki

import (
	"bytes"
	"debug/elf"
	"debug/pe"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/initrd"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// goodOptions are those of a build that succeeds: an image of the profile iscsi, and
// a stub that knows profiles.
func goodOptions(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	opts := Options{
		Options: bootfiles.Options{Image: filepath.Join(dir, "initrd.img"), Kernel: filepath.Join(dir, "vmlinuz"), Append: "nfsroot=10.0.0.1:/srv"},
		Stub:    filepath.Join(dir, "stub"), Output: filepath.Join(dir, "sidus.efi"),
	}
	initrdtest.WriteFile(t, opts.Kernel, initrdtest.KernelFile(elf.EM_X86_64, "6.1.0-test"))
	initrdtest.WriteFile(t, opts.Stub, program("#### LoaderInfo: systemd-stub 257.9-1 ####"))
	initrdtest.WriteFile(t, filepath.Join(dir, "init"), initrdtest.Program(nil))
	if _, err := initrd.Build(t.Context(), initrd.Options{Root: initrdtest.Tree(t), Output: opts.Image, Init: filepath.Join(dir, "init")}); err != nil {
		t.Fatal(err)
	}
	return opts
}

// sectionTexts are the sections of a program that hold text, as "name: text".
func sectionTexts(t *testing.T, name string) (texts []string) {
	t.Helper()
	f, err := pe.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range f.Sections {
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		if s.Name == ".cmdline" || s.Name == ".uname" || s.Name == ".profile" {
			texts = append(texts, s.Name+": "+string(data[:s.VirtualSize]))
		}
	}
	return texts
}

func TestBuild(t *testing.T) {
	opts := goodOptions(t)
	opts.DryRun = true
	if _, err := Build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(opts.Output); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run has written: %v", err)
	}
	opts.DryRun = false
	r, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	want := ".uname: 6.1.0-test\n.cmdline: nfsroot=10.0.0.1:/srv sidus.rw=tmpfs"
	if got := strings.Join(sectionTexts(t, opts.Output), "\n"); got != want {
		t.Errorf("sections\n%s\nwant\n%s", got, want)
	}
	info, err := os.Stat(opts.Output)
	if err != nil || info.Size() != r.Bytes || info.Mode().Perm() != 0o644 {
		t.Errorf("%v (%v), the report says %d bytes", info, err, r.Bytes)
	}
	first, err := os.ReadFile(opts.Output)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(opts.Output); err != nil || !bytes.Equal(first, second) {
		t.Errorf("a second build has other bytes (%v)", err)
	}
}

// TestBuildARM64 makes one for arm64 on any machine: after the stub that the tree has for
// it, and not from a kernel that UEFI does not start.
func TestBuildARM64(t *testing.T) {
	opts := goodOptions(t)
	root := t.TempDir()
	kernel := initrdtest.KernelFile(elf.EM_AARCH64, "6.1.0-test")
	initrdtest.WriteFile(t, filepath.Join(root, "boot/vmlinuz-6.1.0-test"), kernel)
	stub := program("#### LoaderInfo: systemd-stub 252.39-1 ####", func(f *pe.FileHeader, _ *pe.OptionalHeader64) { f.Machine = pe.IMAGE_FILE_MACHINE_ARM64 })
	// As in Debian 12's, nops are behind the table of sections.
	at := 0
	for name := range strings.SplitSeq(".text .sdmagic", " ") {
		at = max(at, bytes.Index(stub, []byte(name))+sectionEntry)
	}
	for ; at+4 <= 0x400; at += 4 {
		copy(stub[at:], "\x1f\x20\x03\xd5")
	}
	initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/systemd/boot/efi/linuxaa64.efi.stub"), stub)
	opts.Root, opts.Kernel, opts.Stub = root, "", ""
	r, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(r.Stub, "/linuxaa64.efi.stub") {
		t.Errorf("the stub is %s", r.Stub)
	}
	f, err := pe.Open(opts.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	linux, err := f.Section(".linux").Data()
	if f.Machine != 0xaa64 || err != nil || !bytes.HasPrefix(linux, kernel) {
		t.Errorf("machine %#x, .linux of %d bytes (%v)", f.Machine, len(linux), err)
	}

	initrdtest.WriteFile(t, filepath.Join(root, "boot/vmlinuz-6.1.0-test"), initrdtest.Pack(t, ".gz", kernel))
	_, err = Build(t.Context(), opts)
	option := (*initrd.OptionError)(nil)
	if !errors.As(err, &option) || option.Field != "Kernel" || !strings.Contains(err.Error(), "compressed by gzip") {
		t.Errorf("packed by gzip: %v", err)
	}
}

func TestErrors(t *testing.T) {
	good := goodOptions(t)
	stub := func(content []byte) func(*Options) {
		name := filepath.Join(t.TempDir(), "stub")
		initrdtest.WriteFile(t, name, content)
		return func(o *Options) { o.Stub = name }
	}
	for _, tt := range []struct {
		edit  func(*Options)
		field string
		want  string
	}{
		{func(o *Options) { o.Output = "" }, "Output", "is missing"},
		{func(o *Options) { o.Output += "/none/x.efi" }, "Output", "there is no directory"},
		{func(o *Options) { o.Stub = "" }, "Stub", "is missing"},
		{func(o *Options) { o.Stub, o.Root = "", t.TempDir() }, "Root", "install systemd-boot-efi in the tree"},
		{stub([]byte("text")), "Stub", "not an EFI program"},
		{stub(program("", func(f *pe.FileHeader, _ *pe.OptionalHeader64) { f.Machine = pe.IMAGE_FILE_MACHINE_ARM64 })), "Stub", "is for arm64, but the kernel is for amd64"},
		{stub(program("#### LoaderInfo: systemd-boot 257.13-1 ####")), "Stub", "is systemd-boot 257.13-1, which starts no kernel of its own"},
		{stub(program("#### LoaderInfo: systemd-addon 257.13-1 ####")), "Stub", "is systemd-addon 257.13-1, which"},
		{func(o *Options) { o.Labels = []string{"iscsi"} }, "Labels", "not built with the profile iscsi"},
		{func(o *Options) { o.Labels = []string{"disk"} }, "Labels", "not a label"},
		{func(o *Options) { o.Labels = []string{"tmpfs", "tmpfs"} }, "Labels", "given twice"},
		{func(o *Options) { o.Append = "a\"b" }, "Append", "the character"},
		{func(o *Options) { o.Kernel = o.Stub }, "Kernel", "not a kernel"},
	} {
		opts := good
		tt.edit(&opts)
		_, err := Build(t.Context(), opts)
		option := (*initrd.OptionError)(nil)
		if !errors.As(err, &option) || option.Field != tt.field || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error about %s with %q", err, tt.field, tt.want)
		}
		if _, err := os.Stat(good.Output); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after %v there is an output (%v)", tt.want, err)
		}
	}
}

// Each label is a profile behind what they have in common, where the stub knows
// profiles.
func TestProfiles(t *testing.T) {
	labels := []bootfiles.Label{{Name: "iscsi", Append: "a sidus.rw=iscsi"}, {Name: "tmpfs", Append: "a sidus.rw=tmpfs"}}
	src := &bootfiles.Set{Release: "6.1.0-test"}
	for _, file := range []**os.File{&src.Kernel, &src.Image} {
		name := filepath.Join(t.TempDir(), "file")
		initrdtest.WriteFile(t, name, []byte("content"))
		var err error
		if *file, err = os.Open(name); err != nil {
			t.Fatal(err)
		}
	}
	defer src.Close()
	sections, err := read(t.Context(), src, labels, "ID=x\n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sections {
		got = append(got, s.name+"="+string(s.data))
	}
	want := ".osrel=ID=x\n .uname=6.1.0-test .initrd=content .linux=content " +
		".profile=ID=iscsi\nTITLE=iscsi\n .cmdline=a sidus.rw=iscsi .profile=ID=tmpfs\nTITLE=tmpfs\n .cmdline=a sidus.rw=tmpfs"
	if strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for magic, version := range map[string]int{"systemd-stub 257.9-1": 257, "systemd-stub 252": 252, "systemd-boot 257": 0, "": 0} {
		if got := stubVersion(magic); got != version {
			t.Errorf("stubVersion(%q) = %d, want %d", magic, got, version)
		}
	}
}
