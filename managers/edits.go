package managers

import "strings"

// An Edit is a change of a file of the tree, for a manager that reads nothing
// below /run.
type Edit struct {
	// Manager is for messages.
	Manager string
	// Programs are where the manager is. A tree that has none of them is left
	// as it is.
	Programs []string
	Path     string
	// Apply makes the new text of the file out of the old one, which is empty
	// where there is no file, for the devices that must not be touched. What an
	// earlier boot wrote is removed, and without devices nothing is added: an empty
	// text means no file. It can be applied again and again.
	Apply func(old string, devices []string) string
}

// Edits are all there are.
func Edits() []Edit {
	cloudInit := []string{"/usr/bin/cloud-init"}
	return []Edit{
		{"dhcpcd", []string{"/usr/sbin/dhcpcd", "/sbin/dhcpcd"}, "/etc/dhcpcd.conf", denyInterfaces},
		// The name sorts behind the others: the last file wins.
		{"cloud-init", cloudInit, "/etc/cloud/cloud.cfg.d/zz-sidusboot.cfg", whole(edited + "network: {config: disabled}\n")},
		// With ip= on the command line and a /run/net-DEVICE.conf cloud-init
		// takes the network from there before it looks at its configuration;
		// before both it looks for this file.
		{"cloud-init", cloudInit, "/var/lib/cloud/data/upgraded-network", whole(edited)},
	}
}

// edited marks what sidusboot wrote in a file of the tree: the upper layer may be
// kept from boot to boot, and the next boot may be by another NIC. A line that
// begins with editedMark is such a mark: earlier versions wrote it with another
// end.
const (
	editedMark = "# sidusboot, at every boot:"
	edited     = editedMark + " the root file system needs this NIC: leave it as it is.\n"
)

// whole makes a file that is sidusboot's. One of the same name without the mark is
// left as it is.
func whole(text string) func(string, []string) string {
	return func(old string, devices []string) string {
		switch ours := strings.HasPrefix(old, editedMark); {
		case old != "" && !ours:
			return old
		case len(devices) == 0:
			return ""
		}
		return text
	}
}

// denyInterfaces puts a line for dhcpcd.conf(5) at the top: behind an interface
// line it would be for that interface only.
func denyInterfaces(old string, devices []string) string {
	const keyword = "denyinterfaces "
	var kept strings.Builder
	marked := false
	for line := range strings.Lines(old) {
		mark := strings.HasPrefix(line, editedMark)
		ours := mark || marked && strings.HasPrefix(line, keyword)
		if marked = mark; !ours {
			kept.WriteString(line)
		}
	}
	if len(devices) == 0 {
		return kept.String()
	}
	return edited + keyword + strings.Join(devices, " ") + "\n" + kept.String()
}
