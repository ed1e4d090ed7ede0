package image

import "slices"

// profileModules is the only table of which profile has the modules that /init
// loads by name. The generator packs by it, and /init names the profile that is
// missing by it.
var profileModules = []struct {
	profile string
	modules []string
}{
	// sd_mod makes a disk of a LUN.
	{"iscsi", []string{"iscsi_tcp", "sd_mod", "ext4"}},
	{"infiniband", []string{"ib_ipoib"}},
}

// ProfileModules are the modules that /init loads by name where an image has the
// profile.
func ProfileModules(profile string) []string {
	for _, p := range profileModules {
		if p.profile == profile {
			return slices.Clone(p.modules)
		}
	}
	return nil
}

// ProfilesWith returns the profiles of an image that would have the module: those
// that it has, and one more. Empty: no profile adds this module, or it is among
// them already.
func ProfilesWith(have []string, module string) []string {
	module = CanonicalName(module)
	for _, p := range profileModules {
		if slices.Contains(p.modules, module) {
			if slices.Contains(have, p.profile) {
				return nil
			}
			return append(slices.Clone(have), p.profile)
		}
	}
	return nil
}
