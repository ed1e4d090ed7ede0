package initrd

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// An arch is what a program or a module is built for. The zero value: it is not known.
type arch struct {
	machine elf.Machine
	class   elf.Class
	data    elf.Data
}

// The architectures that there is a /init for.
var (
	amd64 = arch{elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB}
	arm64 = arch{elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB}
)

// archNames are what Debian calls them.
var archNames = map[arch]string{
	amd64: "amd64", arm64: "arm64",
	{elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB}:       "i386",
	{elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB}:       "armhf or armel",
	{elf.EM_RISCV, elf.ELFCLASS64, elf.ELFDATA2LSB}:     "riscv64",
	{elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2LSB}:     "ppc64el",
	{elf.EM_S390, elf.ELFCLASS64, elf.ELFDATA2MSB}:      "s390x",
	{elf.EM_LOONGARCH, elf.ELFCLASS64, elf.ELFDATA2LSB}: "loong64",
}

func archOf(f *elf.File) arch { return arch{f.Machine, f.Class, f.Data} }

func (a arch) String() string {
	if name := archNames[a]; name != "" {
		return name
	}
	bits, order := "64-bit", "little"
	if a.class == elf.ELFCLASS32 {
		bits = "32-bit"
	}
	if a.data == elf.ELFDATA2MSB {
		order = "big"
	}
	return fmt.Sprintf("%s (%s, %s endian)", strings.TrimPrefix(a.machine.String(), "EM_"), bits, order)
}

// maxBroken is how many modules that cannot be read are passed over until another file
// tells the architecture: what is broken has errors of its own.
const maxBroken = 16

// findArch finds what a kernel runs on: by one of its own modules, or, where everything is
// built in, by the kernel's file, or by the tree's shell. from is the file that says it. The
// arch is zero where none does.
func findArch(t *tree, k *kernel) (a arch, from string) {
	broken := 0
	for _, name := range k.order {
		if isOutside(k.files[name]) {
			continue
		}
		m := newModuleFile(k, name, unpacked)
		if f, err := m.read(t); err == nil {
			return archOf(f), t.path(m.path)
		}
		if broken++; broken > maxBroken {
			break
		}
	}
	for _, name := range kernelFiles(k.release) {
		f, err := t.files.Open(name)
		if err != nil {
			continue
		}
		file, err := ReadKernelFile(f)
		f.Close()
		if err == nil {
			return archNamed(file.Architecture), t.path(name)
		}
	}
	for _, name := range []string{"bin/sh", "usr/bin/sh"} {
		data, err := t.readFile(name)
		if err != nil {
			continue
		}
		if f, err := elf.NewFile(bytes.NewReader(data)); err == nil {
			return archOf(f), t.path(name)
		}
	}
	return arch{}, ""
}

// kernelFiles are where a tree may have the file of a kernel.
func kernelFiles(release string) []string {
	var names []string
	for _, file := range []string{"vmlinuz", "vmlinux", "Image"} {
		names = append(names, path.Join("boot", file+"-"+release), path.Join(modulesDir, release, file))
	}
	return names
}

// initNames are the names of sidusboot's init for an architecture: what make leaves in
// bin/ is init for the machine that it runs on, and init-ARCH for another.
func initNames(a arch) []string {
	if name := archNames[a]; name != "" {
		return []string{"init-" + name, "init"}
	}
	return []string{"init"}
}

// chooseInit finds the init for a tree's kernels in a folder. from is the file that says
// what they run on.
func chooseInit(dir string, want arch, from string) (string, error) {
	var first error
	for _, name := range initNames(want) {
		file := filepath.Join(dir, name)
		err := checkInit(file, want, from)
		if err == nil {
			return file, nil
		}
		if first == nil && !errors.Is(err, fs.ErrNotExist) {
			first = err
		}
	}
	if first == nil {
		first = OptionErrorf("Init", "%s has no %s: %s", dir, strings.Join(initNames(want), " and no "), initRemedy(want))
	}
	return "", first
}

// checkInit refuses an init that would not run under a tree's kernels.
func checkInit(file string, want arch, from string) error {
	data, err := ReadFile(file)
	if err != nil {
		return OptionErrorf("Init", "%w: %s", err, remedyFor(err, initRemedy(want)))
	}
	got, err := openProgram(data)
	if err != nil {
		return OptionErrorf("Init", "%s %w: %s", file, err, initRemedy(want))
	}
	return checkProgram(program{"Init", file, got}, want, from)
}

// checkProgram refuses a program that a tree's kernels cannot run. from is the file that
// says what they run on.
func checkProgram(p program, want arch, from string) error {
	if want == (arch{}) || p.arch == want {
		return nil
	}
	remedy := fmt.Sprintf("give one that is built for %v", want)
	if p.field == "Init" {
		remedy = initRemedy(want)
	}
	return OptionErrorf(p.field, "%s is for %v, but the kernel of the tree is for %v (%s): %s", p.file, p.arch, want, from, remedy)
}

// initRemedy says where to find the init for an architecture.
func initRemedy(want arch) string {
	if want != amd64 && want != arm64 {
		return "give sidusboot's init, which make leaves in bin/"
	}
	return fmt.Sprintf("give sidusboot's init for %v, which make leaves in bin/ as %s", want, strings.Join(initNames(want), " or "))
}

// archNamed is the architecture that Debian calls so.
func archNamed(name string) arch {
	for a, n := range archNames {
		if n == name {
			return a
		}
	}
	return arch{}
}
