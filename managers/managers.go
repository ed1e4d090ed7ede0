// Package managers knows what to tell the network managers of a tree about the
// NIC that the root hangs on, so that none of them takes it down, gives it
// another address or forgets it, at start, at a restart or at the end:
// systemd-networkd, NetworkManager, ifupdown, dhcpcd and cloud-init. It makes
// texts and touches no file.
//
// What goes below /run can be written in every tree:
//
//	/run/systemd/network/00-sidusboot.network, 00-sidusboot-lower.network
//	/run/NetworkManager/conf.d/sidusboot.conf
//	/run/NetworkManager/system-connections/sidusboot.nmconnection
//	/run/NetworkManager/devices/INDEX
//	/run/network/ifstate, ifstate.DEVICE, sidusboot-names, sidusboot-excluded
//	/run/systemd/system/ifup@DEVICE.service.d/sidusboot.conf
//	/run/systemd/system/networking.service.d/sidusboot.conf
//
// dhcpcd and cloud-init have nothing of the kind: what they are told is in files
// of the tree, see Dhcpcd and CloudInit.
package managers

import (
	"io/fs"
	"net"
	"net/netip"
	"strings"
)

// A Kind is what a NIC is to the kernel.
type Kind int

// The kinds.
const (
	// Ethernet is a card of the machine.
	Ethernet Kind = iota
	// VLAN and Bond stand on other devices, see NIC.Lower.
	VLAN
	Bond
)

// A NIC is the device with the node's address, as /init set it up.
type NIC struct {
	Device string
	// Index is the kernel's number of the device (ifindex).
	Index int
	MAC   net.HardwareAddr
	Kind  Kind
	// Addrs are its addresses with the length of their netmasks.
	Addrs []netip.Prefix
	// Broadcast is for the IPv4 address, the zero Addr for the usual one.
	Broadcast netip.Addr
	Routes    []Route
	DNS       []netip.Addr
	// Search are domains; one that is none is left out.
	Search []string
	// Lower are the devices below a VLAN or a bond, which are to be left alone.
	Lower []string
}

// A Route is one way out. A zero Gateway means that Dst is on the link.
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

// written is the first line of every file; ours all take # for a comment.
const written = "# Written by sidusboot at every boot: the root hangs on this NIC.\n"

// Files are those that stand below /run, whatever managers the tree has.
// networking.service needs more, see Networking.
func (n NIC) Files() []File {
	return append(append(n.networkd(), n.networkManager()...), n.ifupdown()...)
}

// Devices are the NIC and what it stands on.
func (n NIC) Devices() []string { return append([]string{n.Device}, n.Lower...) }

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

// domains are the search domains that are such: they come from a server that
// may be anybody, and a line's end in one of them would be a setting.
func (n NIC) domains() []string {
	var good []string
	for _, d := range n.Search {
		if isDomain(d) {
			good = append(good, d)
		}
	}
	return good
}

func isDomain(s string) bool {
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
		if !ok {
			return false
		}
	}
	return s != "" && s[0] != '-'
}

// join writes values one behind the other.
func join[T interface{ String() string }](all []T, separator string) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = v.String()
	}
	return strings.Join(texts, separator)
}
