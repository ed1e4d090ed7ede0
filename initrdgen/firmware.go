package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// firmwareNames gives the files that a module says it may ask for, out of its
// .modinfo section.
func firmwareNames(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
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

// firmwareDirs are the folders where the kernel looks for a file, in its order
// (fw_path in drivers/base/firmware_loader/main.c).
func firmwareDirs(release string) []string {
	return []string{"updates/" + release, "updates", release, "."}
}

// packFirmware finds the files that modules name. What the tree does not have
// is listed, not refused: a module names all that its chips may ever want.
func packFirmware(t *tree, modules []*moduleFile) (entries []entry, missing []string, err error) {
	packed := make(map[string]bool)
	for _, m := range modules {
		for _, name := range m.firmware {
			if !fs.ValidPath(name) {
				return nil, nil, fmt.Errorf("%s: firmware name %q leads out of %s", t.path(m.path), name, image.Firmware)
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
					return nil, nil, err
				}
				packed[file], found = true, true
				entries = append(entries, fileEntry(file, 0o644, data))
				break
			}
			if !found {
				missing = append(missing, name)
			}
		}
	}
	slices.Sort(missing)
	return entries, slices.Compact(missing), nil
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
