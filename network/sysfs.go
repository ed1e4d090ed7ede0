package network

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Index is the kernel's number of a device (ifindex).
func Index(sysfs, device string) (int, error) {
	text, err := os.ReadFile(filepath.Join(sysfs, "class/net", device, "ifindex"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// LowerDevices are the devices that a VLAN or a bond stands on, down to the cards
// (Documentation/ABI/testing/sysfs-class-net, lower_*).
func LowerDevices(sysfs, device string) []string {
	const prefix = "lower_"
	links, err := filepath.Glob(filepath.Join(sysfs, "class/net", device, prefix+"*"))
	if err != nil {
		return nil
	}
	var all []string
	for _, link := range links {
		lower := strings.TrimPrefix(filepath.Base(link), prefix)
		all = append(append(all, lower), LowerDevices(sysfs, lower)...)
	}
	return all
}
