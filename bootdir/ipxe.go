package bootdir

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/initrd"
)

// ipxeText makes NAME.ipxe. iPXE takes names as relative to the script, by TFTP
// and by HTTP alike.
//
// A node's own file (ipxe.cfg/01-MAC) can set another label: iPXE comes back
// from it.
func ipxeText(v *version, old []byte) ([]byte, error) {
	own := "#!ipxe\n" + beginLine(v.Name)
	if len(old) > 0 && !strings.HasPrefix(string(old), own) {
		return nil, initrd.WithRemedy(errors.New("initrdgen did not write it: rename it, or choose another name for ours"), "Name")
	}
	var b strings.Builder
	b.WriteString(own)
	fmt.Fprintf(&b, "isset ${label} || set label %s\n", v.labelName(v.Default))
	b.WriteString("chain --autofree ipxe.cfg/01-${netX/mac:hexhyp} ||\n")
	if slices.ContainsFunc(v.Labels, func(l bootfiles.Label) bool { return slices.Contains(strings.Fields(l.Append), findServer) }) {
		// Before March 2024 iPXE has no cwduri; filename is what DHCP named, most often the URL of this script.
		b.WriteString("isset ${cwduri} && set url ${cwduri} || set url ${filename} ||\n")
	}
	b.WriteString("goto ${label} || goto failed\n")
	for _, l := range v.Labels {
		fmt.Fprintf(&b, "\n:%s\n", v.labelName(l.Name))
		fmt.Fprintf(&b, "kernel %s initrd=%s %s BOOTIF=01-${netX/mac:hexhyp} || goto failed\n", v.file(kernelFile), imageFile, withURL(l.Append, "${url}"))
		fmt.Fprintf(&b, "initrd --name %s %s || goto failed\nboot || goto failed\n", imageFile, v.file(imageFile))
	}
	// A node that gives up here would try its next boot device, or none, for ever.
	b.WriteString("\n:failed\necho sidusboot: no boot by the label ${label}, next attempt in 30 s\nsleep 30\nreboot\n")
	b.WriteString(endLine(v.Name))
	return []byte(b.String()), nil
}
