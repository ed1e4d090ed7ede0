package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

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
	total := 0
	for _, m := range modules {
		absent, stars := 0, 0
		for _, name := range m.firmware {
			files := []string{name}
			if strings.ContainsAny(name, "*?[") {
				files = nil
				if stars++; stars <= maxStars {
					files = globFirmware(t, m.release, name)
				}
			}
			found := false
			for _, file := range files {
				place, data, err := findFirmware(t, m.release, file, packed)
				if err != nil {
					return nil, nil, nil, err
				}
				if place == "" {
					continue
				}
				found = true
				if packed[place] {
					continue
				}
				packed[place] = true
				entries = append(entries, fileEntry(place, 0o644, data))
				if total += len(data); total > maxImage {
					return nil, nil, nil, fmt.Errorf("%s: the firmware that the modules ask for is more than %d MB (the last file was %s): remove what no node needs",
						t.path(image.Firmware), maxImage>>20, place)
				}
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

// maxStars is how many names with stars of one module are looked for: each may
// lead through all of the folders. Debian's modules have up to seven.
const maxStars = 64

// findFirmware finds a file in the folders where the kernel looks for it: its
// place in the image, and its content unless it is packed already. The place is
// empty where there is none, and for a name that leads out of the folders.
func findFirmware(t *tree, release, name string, packed map[string]bool) (place string, data []byte, err error) {
	if !fs.ValidPath(name) {
		return "", nil, nil
	}
	for _, dir := range firmwareDirs(release) {
		place = path.Join(image.Firmware, dir, name)
		if packed[place] {
			return place, nil, nil
		}
		data, err = readFirmware(t, strings.TrimPrefix(place, "/"))
		if !isAbsent(err) {
			return place, data, err
		}
	}
	return "", nil, nil
}

// isAbsent tells errors about a file that is not there, or that is something
// else and so no use: the kernel looks in the next folder then, too.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENAMETOOLONG)
}

// firmwareSuffixes are how firmware is packed, plain first, as the kernel looks
// for it.
var firmwareSuffixes = []string{"", ".zst", ".xz"}

// firmwareName is the name of a file without the suffix of its compression.
func firmwareName(file string) string {
	for _, suffix := range firmwareSuffixes[1:] {
		file = strings.TrimSuffix(file, suffix)
	}
	return file
}

// globFirmware gives the files that a name with stars stands for, in all the
// folders of firmware: brcmfmac names brcm/brcmfmac*-pcie.*.bin. The kernel knows
// no stars, but a driver puts its names together out of what it finds.
func globFirmware(t *tree, release, pattern string) []string {
	if _, err := path.Match(pattern, ""); err != nil || !fs.ValidPath(pattern) {
		return nil
	}
	var names []string
	for _, dir := range firmwareDirs(release) {
		found := []string{""}
		words := strings.Split(pattern, "/")
		for i, word := range words {
			var next []string
			for _, parent := range found {
				entries, err := t.readDir(path.Join(strings.TrimPrefix(image.Firmware, "/"), dir, parent))
				if err != nil {
					continue
				}
				for _, e := range entries {
					name := e.Name()
					if i == len(words)-1 {
						name = firmwareName(name)
					}
					if ok, _ := path.Match(word, name); ok {
						next = append(next, path.Join(parent, name))
					}
				}
			}
			found = next
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// readFirmware reads a file, plain or packed. It goes into the image plain:
// not every kernel can unpack firmware (CONFIG_FW_LOADER_COMPRESS).
func readFirmware(t *tree, name string) ([]byte, error) {
	var err error
	for _, suffix := range firmwareSuffixes {
		var raw []byte
		if raw, err = t.readFile(name + suffix); err == nil {
			data, err := decompress(name+suffix, raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w: install the firmware package again", t.path(name+suffix), err)
			}
			return data, nil
		}
		if !isAbsent(err) {
			return nil, err
		}
	}
	return nil, err
}
