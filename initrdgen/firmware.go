package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// firmwareDirs are the folders where the kernel looks for a file, in its order
// (fw_path in drivers/base/firmware_loader/main.c).
func firmwareDirs(release string) []string {
	return []string{"updates/" + release, "updates", release, "."}
}

// packFirmware finds the files that modules name. What the tree does not have
// is told by module, not refused: a module names all that its chips may ever
// want. Those of which the tree has nothing at all are without.
func packFirmware(t *tree, modules []*moduleFile) (entries []entry, missing map[string][]string, without []string, err error) {
	packed := make(map[string]bool)
	missing = make(map[string][]string)
	for _, m := range modules {
		absent := 0
		for _, name := range m.firmware {
			if !fs.ValidPath(name) {
				return nil, nil, nil, fmt.Errorf("%s: firmware name %q leads out of %s", t.path(m.path), name, image.Firmware)
			}
			found := false
			for _, dir := range firmwareDirs(m.release) {
				file := path.Join(image.Firmware, dir, name)
				if found = packed[file]; found {
					break
				}
				data, err := readFirmware(t, strings.TrimPrefix(file, "/"))
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err != nil {
					return nil, nil, nil, err
				}
				packed[file], found = true, true
				entries = append(entries, fileEntry(file, 0o644, data))
				break
			}
			if !found {
				absent++
				missing[m.name] = append(missing[m.name], name)
			}
		}
		if absent > 0 && absent == len(m.firmware) && !doesWithout[m.name] {
			without = append(without, m.name)
		}
	}
	for name, files := range missing {
		slices.Sort(files)
		missing[name] = slices.Compact(files)
	}
	slices.Sort(without)
	return entries, missing, slices.Compact(without), nil
}

// doesWithout are drivers that ask for a file and work as well if there is none:
// isci has its settings from the machine's own firmware (isci_request_oprom).
var doesWithout = map[string]bool{"isci": true}

// firmwarePackages are Debian's firmware-NAME, by how the files in them start.
// The rest is spread over several, and moves.
var firmwarePackages = []struct{ prefix, name string }{
	{"bnx2/", "bnx2"},
	{"bnx2x/", "bnx2x"},
	{"liquidio/", "cavium"},
	{"myri10ge_", "myricom"},
	{"netronome/", "netronome"},
	{"phanfw.bin", "netxen"},
	{"qed/", "qlogic"},
	{"rtl_nic/", "realtek"},
}

// withoutFirmware is the warning about drivers that have none of theirs.
func withoutFirmware(t *tree, without []string, missing map[string][]string) string {
	var packages []string
	for _, driver := range without {
		for _, p := range firmwarePackages {
			if strings.HasPrefix(missing[driver][0], p.prefix) {
				packages = append(packages, p.name)
				break
			}
		}
	}
	slices.Sort(packages)
	named := ""
	if packages = slices.Compact(packages); len(packages) > 0 {
		named = ", such as firmware-{" + strings.Join(packages, ",") + "}"
	}
	return fmt.Sprintf("%s has nothing for %s: some of their devices do not work without; install Debian's packages of the section non-free-firmware%s (--verbose lists the files)",
		t.path(image.Firmware), strings.Join(without, ", "), named)
}

// readFirmware reads a file, plain or packed. It goes into the image plain:
// not every kernel can unpack firmware (CONFIG_FW_LOADER_COMPRESS).
func readFirmware(t *tree, name string) ([]byte, error) {
	var err error
	for _, suffix := range []string{"", ".zst", ".xz"} {
		var raw []byte
		if raw, err = t.readFile(name + suffix); err == nil {
			data, err := decompress(name+suffix, raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w: install the firmware package again", t.path(name+suffix), err)
			}
			return data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, err
}
