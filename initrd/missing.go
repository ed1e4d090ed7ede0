package initrd

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// doesWithout are drivers that ask for a file and work as well if there is none:
// isci has its settings from the machine's own firmware (isci_request_oprom), most
// of Renesas' USB controllers from a ROM (renesas_check_rom).
var doesWithout = map[string]bool{"isci": true, "xhci_pci": true, "xhci_pci_renesas": true}

// unpublished are files that drivers of Linux 5.10 to 7.3 name and that no firmware package of
// Debian 12 or 13 has: the maker has not permitted that it is passed on, or has
// never given it out. As for path.Match.
var unpublished = []string{
	"acenic/tg[12].bin",
	"adaptec/starfire_[rt]x.bin",
	"netronome/nic_AMDA0058-001[12]_2x40.nffw",
	"netronome/nic_AMDA0099-0001_1x10_1x25.nffw",
	"ositech/Xilinx7OD.bin",
	"qt2025-2.0.3.3.fw",
	"sun/cassini.bin",
}

// checkPatterns checks Options.AllowMissing.
func checkPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return InvalidOptionf("AllowMissing", "%q is not a pattern: give the name of a file below lib/firmware, in which * stands for anything but a slash", pattern)
		}
	}
	return nil
}

// isTolerated tells whether nothing is to be said about a driver's file that is missing.
func isTolerated(driver, file string, allowed []string) bool {
	return doesWithout[driver] || slices.ContainsFunc(slices.Concat(unpublished, allowed), func(pattern string) bool {
		ok, _ := path.Match(pattern, file)
		return ok
	})
}

// untolerated leaves out of the missing files, by driver, those that are tolerated.
func untolerated(missing map[string][]string, allowed []string) map[string][]string {
	rest := make(map[string][]string)
	for driver, files := range missing {
		files = slices.DeleteFunc(slices.Clone(files), func(file string) bool { return isTolerated(driver, file, allowed) })
		if len(files) > 0 {
			rest[driver] = files
		}
	}
	return rest
}

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
	return fmt.Sprintf("%s has no firmware for the drivers %s, and some of their devices need it: install the firmware packages in the tree (Debian: section non-free-firmware)%s",
		t.path(image.Firmware), strings.Join(without, ", "), named)
}

// missingFirmware says by driver which of its files the tree does not have.
func missingFirmware(t *tree, missing map[string][]string) []string {
	var texts []string
	for _, driver := range slices.Sorted(maps.Keys(missing)) {
		texts = append(texts, fmt.Sprintf("%s asks for firmware that is not in %s: %s", driver, t.path(image.Firmware), someOf(missing[driver])))
	}
	return texts
}
