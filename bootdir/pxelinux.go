package bootdir

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/initrd"
)

// pxelinuxText makes pxelinux.cfg/default. Files are named relative to pxelinux.0.
//
// A node's own file (pxelinux.cfg/01-MAC) can include this one and set another
// DEFAULT behind it: the last one counts.
func pxelinuxText(v *version, old []byte) ([]byte, error) {
	before, after, err := split(v.Name, old)
	if err != nil {
		return nil, err
	}
	hasDefault := false
	for line := range strings.Lines(string(before) + "\n" + string(after)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		switch strings.ToLower(fields[0]) {
		case "default", "ui", "ontimeout":
			hasDefault = true
		case "label":
			if len(fields) > 1 && slices.ContainsFunc(v.Labels, func(l bootfiles.Label) bool { return v.labelName(l.Name) == fields[1] }) {
				return nil, initrd.WithRemedy(&EntryError{fields[1]}, "Name")
			}
		}
	}
	var b strings.Builder
	if !hasDefault {
		fmt.Fprintf(&b, "DEFAULT %s\n", v.labelName(v.Default))
	}
	for _, l := range v.Labels {
		fmt.Fprintf(&b, "LABEL %s\n  LINUX %s\n  INITRD %s\n  IPAPPEND 2\n  APPEND %s\n",
			v.labelName(l.Name), v.file(kernelFile), v.file(imageFile), l.Append)
	}
	return insert(v.Name, before, b.String(), after), nil
}
