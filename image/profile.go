package image

import "slices"

// profiles are the additions of initrdgen build --profile by which a module
// comes into an image that /init asks for by its name, for messages.
var profiles = map[string]string{
	"iscsi_tcp": "iscsi",
	"sd_mod":    "iscsi",
	"ext4":      "iscsi",
	"ib_ipoib":  "infiniband",
}

// WithProfile returns the profiles of an image that would have the module, as
// --profile takes them: those that it has, and one more. Empty: no profile adds
// this one, or it is among them already.
func WithProfile(have []string, module string) []string {
	add := profiles[CanonicalName(module)]
	if add == "" || slices.Contains(have, add) {
		return nil
	}
	return append(slices.Clone(have), add)
}
