package initrd

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A Report says what went into an image, and how large it is.
type Report struct {
	// Version is Options.Builder.
	Version string `json:"version"`
	Root    string `json:"root"`
	// Architecture is what the kernels run on, as Debian calls it: amd64, arm64. Empty: the
	// tree does not say it, or Debian has none like that.
	Architecture string `json:"architecture"`
	Output       string `json:"output"`
	// Profile are the names of the profiles, with commas between them.
	Profile  string         `json:"profile"`
	Compress string         `json:"compress"`
	Kernels  []KernelReport `json:"kernels"`
	// Init is the size of /init.
	Init     int64          `json:"init_bytes"`
	Firmware FirmwareReport `json:"firmware"`
	// Microcode is that of the processors, by vendor.
	Microcode []MicrocodeReport `json:"microcode"`
	Warnings  []string          `json:"warnings"`
	// Unpacked and Packed are the sizes of the archive and of the image.
	Unpacked int64   `json:"unpacked_bytes"`
	Packed   int64   `json:"packed_bytes"`
	Seconds  float64 `json:"seconds"`
	// Files are all that is in the archive, in its order.
	Files []PackedFile `json:"files"`
}

// A KernelReport is about the modules of one kernel in an image.
type KernelReport struct {
	Release string `json:"release"`
	Modules int    `json:"modules"`
	Bytes   int64  `json:"bytes"`
	// Outside are the modules that are outside kernel/ in the tree.
	Outside []OutsideModule `json:"outside"`
	// Hosts are the nodes of HostProfile.
	Hosts []HostReport `json:"hosts"`
	// Heaviest are the ten largest modules, unpacked.
	Heaviest []ModuleSize `json:"heaviest"`
}

// An OutsideModule is one that DKMS or a vendor installed.
type OutsideModule struct {
	Name string `json:"name"`
	// Path is relative to lib/modules/RELEASE.
	Path string `json:"path"`
}

// A HostReport is about the nodes of one file that HostProfile was asked for with.
type HostReport struct {
	// File is the file with their devices.
	File string `json:"file"`
	// Modules are those that their network cards need, without what these need in
	// their turn.
	Modules []string `json:"modules"`
}

// A ModuleSize is the size of one module, unpacked.
type ModuleSize struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// A MicrocodeReport is about the microcode of one vendor in an image.
type MicrocodeReport struct {
	// Vendor is "intel" or "amd".
	Vendor string `json:"vendor"`
	// Files is how many files of the tree went in, Bytes their size in the image,
	// where what several have in common is once.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// A FirmwareReport is about the firmware in an image.
type FirmwareReport struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Missing are files that drivers name and the tree does not have.
	Missing []string `json:"missing"`
	// MissingFor has the same files by driver.
	MissingFor map[string][]string `json:"missing_for"`
	// Tolerated are those of Missing about which there is no warning, and with
	// Options.Strict no error: no package of Debian has them, the driver works without, or
	// Options.AllowMissing has them.
	Tolerated []string `json:"tolerated"`
	// DriversWithout are the drivers of whose files the tree has none.
	DriversWithout []string `json:"drivers_without"`
}

// heaviest is how many modules a report names.
const heaviest = 10

// count adds up what was packed.
func (r *Report) count(kernels []*kernel, modules []*moduleFile) {
	for _, kernel := range kernels {
		release := kernel.release
		k := KernelReport{Release: release, Outside: []OutsideModule{}, Hosts: []HostReport{}}
		for _, file := range slices.Sorted(maps.Keys(kernel.hostDrivers)) {
			k.Hosts = append(k.Hosts, HostReport{file, kernel.hostDrivers[file]})
		}
		for _, m := range modules {
			if m.release == release {
				k.Modules++
				k.Bytes += int64(len(m.data))
				k.Heaviest = append(k.Heaviest, ModuleSize{m.name, int64(len(m.data))})
				if isOutside(m.file) {
					k.Outside = append(k.Outside, OutsideModule{m.name, m.file})
				}
			}
		}
		slices.SortFunc(k.Heaviest, func(a, b ModuleSize) int {
			return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
		})
		k.Heaviest = k.Heaviest[:min(heaviest, len(k.Heaviest))]
		r.Kernels = append(r.Kernels, k)
	}
	for _, f := range r.Files {
		switch {
		case f.Path == "init":
			r.Init = f.Bytes
		case strings.HasPrefix(f.Path, "lib/firmware/") && strings.HasPrefix(f.Mode, "10"):
			r.Firmware.Files++
			r.Firmware.Bytes += f.Bytes
		}
	}
}

// takeFirmware takes what packFirmware found missing.
func (r *Report) takeFirmware(missing map[string][]string, without, allowed []string) {
	r.Firmware.MissingFor = missing
	r.Firmware.DriversWithout = append(r.Firmware.DriversWithout, without...)
	for driver, files := range missing {
		r.Firmware.Missing = append(r.Firmware.Missing, files...)
		for _, file := range files {
			if isTolerated(driver, file, allowed) {
				r.Firmware.Tolerated = append(r.Firmware.Tolerated, file)
			}
		}
	}
	for _, list := range []*[]string{&r.Firmware.Missing, &r.Firmware.Tolerated} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}

// save writes the report for programs.
func (r *Report) save(out *output) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	return err
}
