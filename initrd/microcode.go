package initrd

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// Microcode corrects errors of processors. The kernel reads it from the image before it
// unpacks anything, from an archive that is not compressed and comes first
// (Documentation/arch/x86/microcode.rst), and only on a real machine.

// A microcodeVendor makes processors whose microcode can be in an image.
type microcodeVendor struct {
	// name is what Options.Microcode calls it, dir where a tree has its files, below
	// image.Firmware, and pkg Debian's package with them.
	name, dir, pkg string
	// file is where the kernel looks in the image.
	file string
	// names are those of its files.
	names *regexp.Regexp
	// split gives what is in one file, each to be there once; an error is about a file
	// that would have the kernel stop before the next one.
	split func(data []byte) ([]string, error)
	// has tells whether a file may be for a processor.
	has func(file string, p processor) bool
}

var microcodeVendors = []microcodeVendor{
	{
		name: "intel", dir: "intel-ucode", pkg: "intel-microcode", file: "kernel/x86/microcode/GenuineIntel.bin",
		// FAMILY-MODEL-STEPPING; Debian names some .initramfs that are not to be loaded later.
		names: regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{2}-[0-9a-f]{2}(\.initramfs)?$`),
		split: splitIntel,
		has: func(file string, p processor) bool {
			return p.vendor == 0 && strings.HasPrefix(file, fmt.Sprintf("%02x-%02x-", p.family, p.model))
		},
	},
	{
		name: "amd", dir: "amd-ucode", pkg: "amd64-microcode", file: "kernel/x86/microcode/AuthenticAMD.bin",
		names: regexp.MustCompile(`^microcode_amd(_fam[0-9a-f]{2}h)?\.bin$`),
		split: splitAMD,
		has: func(file string, p processor) bool {
			if p.vendor == 2 && p.family < 0x15 {
				return file == "microcode_amd.bin"
			}
			return p.vendor == 2 && file == fmt.Sprintf("microcode_amd_fam%02xh.bin", p.family)
		},
	},
}

// Choices of Options.Microcode besides the names of the vendors.
const (
	microcodeAuto = "auto"
	microcodeAll  = "all"
	microcodeNone = "none"
)

// MicrocodeChoices are the values of Options.Microcode, the default one first.
func MicrocodeChoices() []string {
	choices := []string{microcodeAuto, microcodeAll}
	for _, v := range microcodeVendors {
		choices = append(choices, v.name)
	}
	return append(choices, microcodeNone)
}

// microcode is that of one vendor.
type microcode struct {
	vendor microcodeVendor
	// files is how many files of the tree are in data.
	files int
	data  []byte
}

// readMicrocode reads what of a tree's microcode goes into an image. A file of another
// form is left out with a warning.
func readMicrocode(t *tree, chosen []Profile, machine arch, want string) (all []microcode, warnings []string, err error) {
	if want == "" {
		want = microcodeAuto
	}
	if !slices.Contains(MicrocodeChoices(), want) {
		return nil, nil, InvalidOptionf("Microcode", "unknown choice %q: choose one of %s", want, strings.Join(MicrocodeChoices(), ", "))
	}
	x86 := machine.machine == elf.EM_X86_64 || machine.machine == elf.EM_386
	if want == microcodeNone || want == microcodeAuto && (onlyVirtual(chosen) || !x86) {
		return nil, nil, nil
	}
	processors := processorsOf(chosen)
	if want != microcodeAuto {
		processors = nil
	}
	for _, v := range microcodeVendors {
		if slices.Contains([]string{microcodeAuto, microcodeAll, v.name}, want) {
			m, told, err := v.read(t, processors)
			if err != nil {
				return nil, nil, err
			}
			warnings = append(warnings, told...)
			if m.files > 0 {
				all = append(all, m)
			}
		}
	}
	if len(all) == 0 && want != microcodeAuto {
		var packages []string
		for _, v := range microcodeVendors {
			if want == v.name || want == microcodeAll {
				packages = append(packages, v.pkg)
			}
		}
		return nil, nil, OptionErrorf("Microcode", "%s: %s has none: install %s in the tree", want, t.path(image.Firmware), strings.Join(packages, " or "))
	}
	return all, warnings, nil
}

// onlyVirtual tells whether an image is for virtual machines only, in which the
// kernel loads no microcode (check_loader_disabled_bsp).
func onlyVirtual(chosen []Profile) bool {
	return !slices.ContainsFunc(chosen, func(p Profile) bool { return !p.Addition && p.Name != "virtual" })
}

// read reads the files of a vendor for certain processors; none: for all.
func (v microcodeVendor) read(t *tree, processors []processor) (m microcode, warnings []string, err error) {
	m.vendor = v
	dir := path.Join(strings.TrimPrefix(image.Firmware, "/"), v.dir)
	entries, err := t.readDir(dir)
	if err != nil {
		if isAbsent(err) {
			err = nil
		}
		return m, nil, err
	}
	var files []string
	for _, e := range entries {
		file := firmwareName(e.Name())
		wanted := len(processors) == 0 || slices.ContainsFunc(processors, func(p processor) bool { return v.has(file, p) })
		if wanted && v.names.MatchString(file) && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	seen := make(map[string]bool)
	for _, file := range files {
		data, err := readFirmware(t, path.Join(dir, file))
		if errors.Is(err, fs.ErrPermission) {
			return m, nil, err // It would be another image for another user.
		}
		var parts []string
		if err == nil {
			if parts, err = v.split(data); err != nil {
				err = fmt.Errorf("%s: %w: install %s again", t.path(path.Join(dir, file)), err, v.pkg)
			}
		}
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("microcode: %v: it is left out", err))
			continue
		}
		m.files++
		for _, part := range parts {
			if !seen[part] {
				seen[part] = true
				m.data = append(m.data, part...)
			}
		}
		if len(m.data) > maxFile {
			return m, nil, fmt.Errorf("%s: the microcode is more than %d MB: remove what no node needs", t.path(dir), maxFile>>20)
		}
	}
	return m, warnings, nil
}

// A processor is what the modalias of a node's processors says.
type processor struct{ vendor, family, model int }

// processorsOf gives the processors of the nodes of host=, none where an image is for
// others too, or where a node does not say.
func processorsOf(chosen []Profile) []processor {
	if !isSmall(chosen) {
		return nil
	}
	var all []processor
	for _, h := range hostsOf(chosen) {
		said := false
		for _, modalias := range h.devices {
			// ven0000fam0006mod009E (arch/x86/kernel/cpu/match.c, X86_VENDOR_INTEL is 0, AMD 2).
			rest, ok := strings.CutPrefix(modalias, "cpu:type:x86,")
			if !ok {
				continue
			}
			var p processor
			if _, err := fmt.Sscanf(rest, "ven%04xfam%04xmod%04x", &p.vendor, &p.family, &p.model); err == nil {
				said = true
				all = append(all, p)
			}
		}
		if !said {
			return nil
		}
	}
	return all
}

// writeMicrocode writes the archive that comes first. It has no directories: the
// kernel finds the files by their whole name, and does not unpack them a second time.
func writeMicrocode(ctx context.Context, w *counter, all []microcode, rep *Report) error {
	if len(all) == 0 {
		return nil
	}
	var entries []entry
	at := int64(0)
	for _, m := range all {
		e := fileEntry(m.vendor.file, 0o644, m.data)
		// Intel's processors need it at a multiple of 16 bytes, and Linux 6.1 loads it from
		// its address in the image, without a copy (apply_microcode_early).
		const align = 16
		begin := at + headerSize + int64(len(e.path)) + 1
		for (begin+int64(e.pad)+3)/4*4%align != 0 {
			e.pad++
		}
		at = (begin+int64(e.pad)+3)/4*4 + int64(len(m.data))
		at += int64(padding(at))
		entries = append(entries, e)
		rep.Microcode = append(rep.Microcode, MicrocodeReport{Vendor: m.vendor.name, Files: m.files, Bytes: int64(len(m.data))})
	}
	a := appendArchive(w)
	if err := a.add(ctx, entries); err != nil {
		return err
	}
	if err := a.close(); err != nil {
		return err
	}
	// The next archive begins at a multiple of four.
	if _, err := w.Write(make([]byte, padding(w.n))); err != nil {
		return err
	}
	rep.Files = append(rep.Files, a.files...)
	rep.Unpacked += w.n
	return nil
}
