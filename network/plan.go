package network

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// A Method is how an address is had.
type Method int

// The methods of a Way.
const (
	ByDHCP   Method = iota // DHCP (RFC 2131)
	Fixed                  // the Way's own
	ByRouter               // SLAAC, or DHCPv6 where the router says so (RFC 4862)
	ByDHCP6                // DHCPv6 (RFC 8415)
)

func (m Method) is6() bool { return m == ByRouter || m == ByDHCP6 }

// A Choice is a NIC by name, by MAC or by its driver. The zero Choice is any
// NIC with a cable.
type Choice struct {
	Device string
	MAC    net.HardwareAddr
	Driver string
}

func (c Choice) String() string {
	switch {
	case c.Device != "":
		return c.Device
	case c.MAC != nil:
		return c.MAC.String()
	case c.Driver != "":
		return "with the driver " + c.Driver
	}
	return "with a cable"
}

func (c Choice) any() bool { return c.Device == "" && c.MAC == nil && c.Driver == "" }

// several tells whether more than one NIC may be meant: two may have one MAC.
func (c Choice) several() bool { return c.Device == "" }

// fits tells whether a link is the one chosen. A MAC is that of the card, not
// of a VLAN or bond on it.
func (c Choice) fits(l *rtnetlink.Link, sysfs string) bool {
	switch {
	case c.Device != "":
		return l.Name == c.Device
	case c.MAC != nil:
		return bytes.Equal(l.HardwareAddr, c.MAC) && wired(l, sysfs)
	case c.Driver != "":
		return Driver(sysfs, l.Name) == c.Driver && wired(l, sysfs)
	}
	return wired(l, sysfs)
}

// A Way is how one NIC is to get its address.
type Way struct {
	Choice
	Method Method
	// Fixed are fields of the lease that win over what a server says, and all
	// of it where the Method is Fixed.
	Fixed Lease
	// SetMAC is the address that the NIC is given before it is set up.
	SetMAC net.HardwareAddr
	// ClientID and Hostname are told to a DHCP server.
	ClientID, Hostname string
	// Aside is a NIC that is to have its address, but not to lead to the root.
	Aside bool
}

// Is6 tells whether the address is one of IPv6.
func (w *Way) Is6() bool {
	return w.Method.is6() || w.Method == Fixed && w.Fixed.Addr.Addr().Is6()
}

// A Plan is what is wanted of the network.
type Plan struct {
	Renames []Rename
	Bonds   []Bond
	VLANs   []VLAN
	// Ways are tried side by side, and the first whose lease leads to the
	// server wins. The others keep their addresses, except those of a Way
	// that takes any NIC.
	Ways []Way
	// Leave are NICs that are not to be touched.
	Leave []string
	// Routes are added to those of the leases.
	Routes []DeviceRoute
	// DNS are name servers that come before those of a lease; with OnlyDNS those
	// that a server gave are left out.
	DNS     []netip.Addr
	OnlyDNS bool
}

// A DeviceRoute is a route by a device, or by whichever has its gateway where
// Device is empty.
type DeviceRoute struct {
	Route
	Device string
}

// add puts what the plan says for all NICs into a lease.
func (p *Plan) add(w *Way, l *Lease) {
	var routes []Route
	taken := map[netip.Prefix]bool{}
	for _, r := range p.Routes {
		elsewhere := r.Device != "" && r.Device != l.Device
		if r.Device == "" {
			elsewhere = w.Aside || len(p.Ways) > 1 && !l.Addr.Contains(r.Gateway)
		}
		if !elsewhere && r.Dst.Addr().Is4() == l.Addr.Addr().Is4() {
			routes = append(routes, r.Route)
			taken[r.Dst] = true
		}
	}
	for _, r := range l.Routes {
		if !taken[r.Dst] {
			routes = append(routes, r)
		}
	}
	l.Routes = routes
	dns := slices.Clone(p.DNS)
	if !p.OnlyDNS || len(w.Fixed.DNS) > 0 {
		dns = append(dns, l.DNS...)
	}
	l.DNS = dns
}

// Options say how a Plan is carried out.
type Options struct {
	// Sysfs is where sysfs is, /sys.
	Sysfs string
	// First is the NIC that has a moment to itself where any would do, unless
	// Wide: then all are tried at once.
	First string
	Wide  bool
	// Guess is the MAC of the NIC that the firmware booted from, as it says,
	// BOOTIF=: where any would do, the NICs with it come before First, and have a
	// longer moment. It is no order: docks and adapters show another MAC to the
	// firmware than to the kernel. nil: it says nothing.
	Guess net.HardwareAddr
	// CarrierTime is how long to wait for a NIC and its carrier, LeaseTime how
	// long for an address, from then on. A switch with spanning tree forwards
	// nothing for 30 to 50 s.
	CarrierTime, LeaseTime time.Duration
	// PreferRoot and Trust are for DHCP, see DHCPOptions.
	PreferRoot, Trust bool
	// Rescan looks for new devices that want a driver, and for those whose
	// drivers were left out at first. It is called while a NIC is missing, or
	// none has led anywhere for a while.
	Rescan func()
	// Reach tells whether the server answers by way of a lease that is in
	// place. It is asked where several NICs are in question.
	Reach func(ctx context.Context, l *Lease) error
	// Logf is told what an operator should know of what is tried.
	Logf func(format string, args ...any)
	// WaitFor is told what is waited for, for a watchdog.
	WaitFor func(what string)
}

// fix puts the Way's own fields over those of a lease.
func (w *Way) fix(l *Lease) {
	f := &w.Fixed
	if len(f.Routes) > 0 {
		l.Routes = slices.Clone(f.Routes)
	}
	if len(f.DNS) > 0 {
		l.DNS = slices.Clone(f.DNS)
	}
	if len(f.NTP) > 0 {
		l.NTP = slices.Clone(f.NTP)
	}
	if f.MTU > 0 {
		l.MTU = f.MTU
	}
}
