package network

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"
)

// A NIC is what an operator is told about a network card.
type NIC struct {
	Name, Driver string
	MAC          net.HardwareAddr
	Up, Carrier  bool
	// State says why it has no lease; empty where it has one.
	State string
}

func (n NIC) String() string {
	link := "down"
	switch {
	case n.Carrier:
		link = "up"
	case n.Up:
		link = "no carrier"
	}
	driver := n.Driver
	if driver == "" {
		driver = "-"
	}
	text := fmt.Sprintf("%-8s %-17s driver %-12s link %s", n.Name, n.MAC, driver, link)
	if n.State != "" {
		text += ", " + n.State
	}
	return text
}

// describe describes a link.
func describe(l *rtnetlink.Link, sysfs string) NIC {
	return NIC{
		Name: l.Name, MAC: l.HardwareAddr, Driver: Driver(sysfs, l.Name),
		Up: l.IsUp(), Carrier: linkHasCarrier(l),
	}
}

// Driver is the kernel's name of the driver of a device, or empty.
func Driver(sysfs, device string) string {
	target, err := os.Readlink(filepath.Join(sysfs, "class/net", device, "device/driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// isWired tells whether a link is a network card for a cable: not the loopback,
// not a wireless card, not a bond or VLAN, and not a part of a bond.
func isWired(l *rtnetlink.Link, sysfs string) bool {
	if l.IsLoopback() || l.Type != unix.ARPHRD_ETHER || l.MasterIndex != 0 || l.Flags&unix.IFF_SLAVE != 0 {
		return false
	}
	// The kernel gives a kind to what software makes. A veth is a cable between two
	// namespaces, which tests use.
	if l.Kind != "" && l.Kind != "veth" {
		return false
	}
	for _, kind := range []string{"wireless", "phy80211"} {
		if _, err := os.Stat(filepath.Join(sysfs, "class/net", l.Name, kind)); err == nil {
			return false
		}
	}
	return true
}

// PCI classes and USB interface classes that network cards have (PCI Code and
// ID Assignment, 1.4; usb.org's class codes). USB cards of many makers are
// "vendor specific".
var (
	pciClasses = []string{"0x0200", "0x0207", "0x0280"}
	usbClasses = []string{"02", "0a", "e0", "ff"}
)

// unclaimedControllers lists the network controllers without a driver, as bus,
// IDs and place.
func unclaimedControllers(sysfs string) []string {
	var all []string
	eachUnclaimed(sysfs, "pci", func(place string, read func(string) string) {
		class := read("class")
		if slices.ContainsFunc(pciClasses, func(c string) bool { return strings.HasPrefix(class, c) }) {
			all = append(all, fmt.Sprintf("pci %s:%s at %s", strings.TrimPrefix(read("vendor"), "0x"), strings.TrimPrefix(read("device"), "0x"), place))
		}
	})
	eachUnclaimed(sysfs, "usb", func(place string, read func(string) string) {
		if !slices.Contains(usbClasses, read("bInterfaceClass")) {
			return // Not an interface, or of another class.
		}
		id := fmt.Sprintf("usb %s:%s at %s", read("../idVendor"), read("../idProduct"), strings.Split(place, ":")[0])
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	})
	return all
}

// eachUnclaimed calls found for every device on a bus that has no driver.
func eachUnclaimed(sysfs, bus string, found func(place string, read func(attribute string) string)) {
	dir := filepath.Join(sysfs, "bus", bus, "devices")
	devices, err := os.ReadDir(dir)
	if err != nil {
		return // No such bus in this machine.
	}
	for _, d := range devices {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, d.Name()))
		if err != nil {
			continue
		}
		if _, err := os.Lstat(filepath.Join(path, "driver")); err == nil {
			continue
		}
		found(d.Name(), func(attribute string) string {
			b, _ := os.ReadFile(filepath.Join(path, attribute))
			return strings.TrimSpace(string(b))
		})
	}
}
