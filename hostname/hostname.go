// Package hostname checks names of hosts and domains. They come from DHCP
// servers and from parameters, and go into paths, files of other programs'
// configuration and DNS questions.
package hostname

import "strings"

// Limits of RFC 1035, section 2.3.4: of a whole name in its text form, and of
// the part between two dots. MaxNode is the kernel's limit for the name of this
// machine (include/uapi/linux/utsname.h).
const (
	maxName  = 253
	maxLabel = 63
	MaxNode  = 64
)

// Valid tells whether a name has the form of RFC 1123, section 2.1: parts of
// letters, digits and hyphens, with a dot between two, none of them beginning
// or ending with a hyphen. It also takes underscores, because names on Windows
// networks and in DNS have them, and a dot at the end.
func Valid(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func validLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		c := label[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
