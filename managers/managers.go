// Package managers makes the configuration by which the network managers of a tree
// keep the NIC that the root file system needs: none of them must take it down or
// give it another address, when it starts, restarts or ends:
// systemd-networkd, NetworkManager, ifupdown, dhcpcd and cloud-init. It makes texts and
// touches no file; nodefiles puts them into place.
//
// What goes below /run can be written in every tree:
//
//	/run/systemd/network/00--sidusboot-DEVICE.network, 00--sidusboot.network
//	/run/NetworkManager/conf.d/sidusboot.conf
//	/run/NetworkManager/system-connections/sidusboot-DEVICE.nmconnection
//	/run/NetworkManager/devices/INDEX
//	/run/network/ifstate, ifstate.DEVICE, sidusboot-names, sidusboot-excluded
//	/run/systemd/system/ifup@DEVICE.service.d/sidusboot.conf
//	/run/systemd/system/networking.service.d/sidusboot.conf
//
// dhcpcd and cloud-init read no such directory: their configuration is in files of
// the tree, see Edits.
package managers

import (
	"io/fs"
	"net"
	"net/netip"

	"github.com/sidusboot/sidusboot/hostname"
)

// Advice is what the managers have to know about a node.
type Advice struct {
	// NICs have the node's addresses, as /init set them up.
	NICs []NIC
	// Alone are devices that must not be touched at all: those below a VLAN or a
	// bond, and InfiniBand.
	Alone []string
}

// A NIC is a device with an address of the node.
type NIC struct {
	Device string
	// Index is the kernel's number of the device (ifindex).
	Index int
	MAC   net.HardwareAddr
	// Virtual: it is a VLAN or a bond on other devices.
	Virtual bool
	// Addrs are its addresses with the length of their netmasks.
	Addrs []netip.Prefix
	// Broadcast is for the IPv4 address, the zero Addr for the usual one.
	Broadcast netip.Addr
	Routes    []Route
	// Metric is that of the routes, 0 for the NIC that leads to the root.
	Metric int
	DNS    []netip.Addr
	// Search are domains; one that is none is left out.
	Search []string
}

// A Route is a route to Dst. A zero Gateway means that Dst is on the link.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr
}

// A File is a text and where it goes.
type File struct {
	Path string
	Mode fs.FileMode
	Text string
}

// written is the first line of every file; # begins a comment in all of them.
const written = "# Written by sidusboot at every boot: the root file system needs this NIC.\n"

// Files are those that stand below /run, whatever managers the tree has.
// networking.service needs more, see Networking.
func (a Advice) Files() []File {
	return append(append(a.networkd(), a.networkManager()...), a.ifupdown()...)
}

// Devices are all that no manager may take down.
func (a Advice) Devices() []string {
	var all []string
	for _, n := range a.NICs {
		all = append(all, n.Device)
	}
	return append(all, a.Alone...)
}

// ofFamily are the addresses of IPv4, or of IPv6.
func (n NIC) ofFamily(six bool) []netip.Prefix {
	var some []netip.Prefix
	for _, a := range n.Addrs {
		if a.Addr().Is6() == six {
			some = append(some, a)
		}
	}
	return some
}

// onLink tells whether one of the NIC's networks has the gateway in it. A
// manager refuses a route by another one unless it is told so.
func (n NIC) onLink(gateway netip.Addr) bool {
	for _, a := range n.Addrs {
		if a.Contains(gateway) {
			return true
		}
	}
	return gateway.IsLinkLocalUnicast()
}

// domains are the search domains that are valid: they come from a server that may
// be hostile, and a line end in one of them would begin another setting.
func (n NIC) domains() []string {
	var good []string
	for _, d := range n.Search {
		if hostname.Valid(d) {
			good = append(good, d)
		}
	}
	return good
}
