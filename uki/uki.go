// Package uki makes a unified kernel image: one EFI program with a kernel, an
// image and the kernel's parameters in it, which a node's UEFI fetches and starts
// without any loader or configuration, and which can be signed for Secure Boot.
//
// It is an EFI stub (linuxx64.efi.stub of systemd-boot-efi) with sections behind it:
// .osrel, .uname, .cmdline, .initrd, .linux. Where there are several labels each is a
// profile (.profile and its .cmdline), of which the stub takes the first unless it
// is told another (systemd-stub(7)).
package uki

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/initrd"
	"github.com/sidusboot/sidusboot/tree"
)

// Options say what Build makes.
type Options struct {
	// Options name the files and the parameters.
	bootfiles.Options
	// Stub is the EFI stub. Empty: that of Root.
	Stub string
	// Output is the file to write. Required.
	Output string
	// Labels are those that go in, the first one being what a node boots that is told
	// nothing else. Empty: Default, or the first one of the image.
	Labels []string
	// DryRun says that nothing is to be written.
	DryRun bool
}

// A Report says what went in.
type Report struct {
	Output   string          `json:"output"`
	Kernel   string          `json:"kernel"`
	Stub     string          `json:"stub"`
	Labels   []string        `json:"labels"`
	Bytes    int64           `json:"bytes"`
	Sections []SectionReport `json:"sections"`
	Warnings []string        `json:"warnings"`
}

// A SectionReport is about one section that was added to the stub.
type SectionReport struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// profilesSince is the first version of systemd whose stub knows profiles.
const profilesSince = 257

// maxStub is larger than any stub; maxFile than any kernel or image that a firmware loads.
const (
	maxStub = 16 << 20
	maxFile = 1 << 30
)

// Build makes a unified kernel image. Output appears whole or not at all; the same
// files and options give the same bytes.
//
// An error that is about one of the options is an *initrd.OptionError.
func Build(ctx context.Context, opts Options) (*Report, error) {
	if opts.Output == "" {
		return nil, initrd.InvalidOptionf("Output", "is missing: give the name of the file to write; firmware expects it to end in .efi")
	}
	src, err := bootfiles.Open(opts.Options)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	labels, err := choose(src.Labels, opts)
	if err != nil {
		return nil, err
	}
	switch {
	case stubs[src.Architecture] == "":
		return nil, initrd.OptionErrorf("Kernel", "%s is for %s, for which there is no EFI stub: give a kernel for %s", src.Kernel.Name(), src.Architecture, strings.Join(slices.Sorted(maps.Keys(stubs)), " or "))
	case src.Format == initrd.ImageGz:
		return nil, initrd.WithRemedy(initrd.OptionErrorf("Kernel", "%s is compressed by gzip, and UEFI does not start such a kernel: decompress it with gunzip, and give that file as the kernel", src.Kernel.Name()), "Kernel")
	}
	stub, name, err := openStub(opts, src.Architecture)
	if err != nil {
		return nil, err
	}
	if version := stubVersion(stub.magic()); len(labels) > 1 && version < profilesSince {
		return nil, initrd.WithRemedy(initrd.OptionErrorf("Stub", "%s is %s, which does not support profiles: choose one label, or give a stub of systemd %d or later (Debian 13)",
			name, cmp.Or(stub.magic(), "not a stub of systemd"), profilesSince), "Labels", "Stub")
	}
	sections, err := read(ctx, src, labels, osRelease(opts.Root, src.Release))
	if err != nil {
		return nil, err
	}
	image, err := stub.with(sections)
	if err != nil {
		return nil, initrd.OptionErrorf("Stub", "%s: %w", name, err)
	}
	r := &Report{Output: opts.Output, Kernel: src.Release, Stub: name, Bytes: int64(len(image)), Warnings: append([]string{}, src.Warnings...)}
	for _, l := range labels {
		r.Labels = append(r.Labels, l.Name)
	}
	for _, s := range sections {
		r.Sections = append(r.Sections, SectionReport{s.name, int64(len(s.data))})
	}
	if src.Secret {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the image has the passwords of volumes, so only the owner of %s may read it (mode 0600): give it to the boot server's user with chown; later builds keep the owner", opts.Output))
	}
	if opts.DryRun {
		return r, nil
	}
	warnings, err := initrd.WriteFile(opts.Output, src.Secret, image)
	r.Warnings = append(r.Warnings, warnings...)
	return r, err
}

// choose takes the labels that were asked for, in that order.
func choose(have []bootfiles.Label, opts Options) (chosen []bootfiles.Label, err error) {
	if len(opts.Labels) == 0 {
		return have[:1], nil // The default one is first.
	}
	for _, name := range opts.Labels {
		i := slices.IndexFunc(have, func(l bootfiles.Label) bool { return l.Name == name })
		switch {
		case i < 0 && name == bootfiles.ISCSI:
			return nil, initrd.OptionErrorf("Labels", "%s: %s was not built with the profile iscsi: build it with this profile", name, opts.Image)
		case i < 0:
			return nil, initrd.InvalidOptionf("Labels", "%q is not a label: choose one or both of %s, %s", name, bootfiles.Tmpfs, bootfiles.ISCSI)
		case slices.Contains(chosen, have[i]):
			return nil, initrd.InvalidOptionf("Labels", "%s is given twice: leave one out", name)
		}
		chosen = append(chosen, have[i])
	}
	return chosen, nil
}

// stubs are the names of systemd's stubs by what they run on.
var stubs = map[string]string{"amd64": "linuxx64.efi.stub", "arm64": "linuxaa64.efi.stub"}

// openStub reads the stub that was named, or that of the tree.
func openStub(opts Options, machine string) (*stub, string, error) {
	name := opts.Stub
	var file []byte
	var err error
	if name != "" {
		if file, err = initrd.ReadFile(name); err != nil {
			return nil, "", initrd.OptionErrorf("Stub", "%w: give the stub of systemd-boot-efi", err)
		}
	} else {
		if opts.Root == "" {
			return nil, "", initrd.WithRemedy(initrd.InvalidOptionf("Stub", "is missing: give the stub, or a tree that has systemd-boot-efi installed"), "Root")
		}
		inTree := path.Join("usr/lib/systemd/boot/efi", stubs[machine])
		name = path.Join(opts.Root, inTree)
		file, err = tree.At(opts.Root).ReadFileMax(inTree, maxStub)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, "", initrd.WithRemedy(initrd.OptionErrorf("Root", "%s does not exist: install systemd-boot-efi in the tree, or give a stub", name), "Stub")
		}
		if err != nil {
			return nil, "", initrd.WithRemedy(initrd.OptionErrorf("Root", "%s: %w: give a stub", name, err), "Stub")
		}
	}
	s, err := readStub(file)
	if err != nil {
		return nil, "", initrd.OptionErrorf("Stub", "%s: %w", name, err)
	}
	if got := s.machine(); got != machine {
		return nil, "", initrd.OptionErrorf("Stub", "%s is for %s, but the kernel is for %s: give the stub for that architecture", name, cmp.Or(got, "another architecture"), machine)
	}
	// Beside the stub the package has a boot loader and what goes behind a kernel image.
	if magic := s.magic(); strings.HasPrefix(magic, "systemd-") && !strings.HasPrefix(magic, "systemd-stub ") {
		return nil, "", initrd.OptionErrorf("Stub", "%s is %s, which starts no kernel of its own: give %s", name, magic, stubs[machine])
	}
	return s, name, nil
}

// stubVersion is the version of systemd in what a stub says of itself; 0: none.
func stubVersion(magic string) int {
	rest, ok := strings.CutPrefix(magic, "systemd-stub ")
	if !ok {
		return 0
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, _ := strconv.Atoi(rest[:end])
	return n
}

// read reads what goes into the sections.
func read(ctx context.Context, src *bootfiles.Set, labels []bootfiles.Label, release string) ([]section, error) {
	sections := []section{{".osrel", []byte(release)}, {".uname", []byte(src.Release)}}
	if len(labels) == 1 {
		sections = append(sections, section{".cmdline", []byte(labels[0].Append)})
	}
	for _, f := range []struct {
		section string
		file    *os.File
	}{{".initrd", src.Image}, {".linux", src.Kernel}} {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(f.file, maxFile+1))
		if err != nil {
			return nil, err
		}
		if len(data) > maxFile {
			return nil, fmt.Errorf("%s is larger than %d MB, more than firmware loads", f.file.Name(), maxFile>>20)
		}
		sections = append(sections, section{f.section, data})
	}
	if len(labels) > 1 {
		for _, l := range labels {
			sections = append(sections, section{".profile", fmt.Appendf(nil, "ID=%s\nTITLE=%s\n", l.Name, l.Name)}, section{".cmdline", []byte(l.Append)})
		}
	}
	return sections, nil
}

// osRelease is the tree's, from which boot loaders take a name for their menu.
func osRelease(root, release string) string {
	if root != "" {
		for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
			if text, err := tree.At(root).ReadFile(name); err == nil && len(text) > 0 {
				return string(text)
			}
		}
	}
	return fmt.Sprintf("ID=sidusboot\nNAME=\"sidusboot\"\nPRETTY_NAME=\"sidusboot, kernel %s\"\nVERSION_ID=\"%s\"\n", release, release)
}
