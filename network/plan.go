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

// A Method is how a NIC gets its address.
type Method int

// The methods of an Interface.
const (
	MethodDHCP   Method = iota // DHCP (RFC 2131)
	MethodStatic               // the Interface's own
	MethodRouter               // SLAAC, or DHCPv6 where the router says so (RFC 4862)
	MethodDHCP6                // DHCPv6 (RFC 8415)
)

func (m Method) is6() bool { return m == MethodRouter || m == MethodDHCP6 }

// A Selector chooses a NIC by name, by MAC or by its driver. The zero Selector
// chooses any NIC for a cable.
type Selector struct {
	Device string
	MAC    net.HardwareAddr
	Driver string
}

func (s Selector) String() string {
	switch {
	case s.Device != "":
		return s.Device
	case s.MAC != nil:
		return s.MAC.String()
	case s.Driver != "":
		return "with the driver " + s.Driver
	}
	return "with a cable"
}

func (s Selector) isAny() bool { return s.Device == "" && s.MAC == nil && s.Driver == "" }

// mayBeSeveral tells whether more than one NIC may be meant: two may have one MAC.
func (s Selector) mayBeSeveral() bool { return s.Device == "" }

// matches tells whether a link is chosen. A MAC is that of the card, not of a VLAN
// or bond on it.
func (s Selector) matches(l *rtnetlink.Link, sysfs string) bool {
	switch {
	case s.Device != "":
		return l.Name == s.Device
	case s.MAC != nil:
		return bytes.Equal(l.HardwareAddr, s.MAC) && isWired(l, sysfs)
	case s.Driver != "":
		return Driver(sysfs, l.Name) == s.Driver && isWired(l, sysfs)
	}
	return isWired(l, sysfs)
}

// An Interface is how one NIC is to get its address.
type Interface struct {
	Selector
	Method Method
	// Static are fields of the lease that win over what a server says, and all
	// of it where the Method is Fixed.
	Static Lease
	// SetMAC is the address that the NIC is given before it is set up.
	SetMAC net.HardwareAddr
	// ClientID and Hostname are told to a DHCP server.
	ClientID, Hostname string
	// Secondary is a NIC that is to have its address, but not to lead to the root.
	Secondary bool
}

// Is6 tells whether the address is one of IPv6.
func (i *Interface) Is6() bool {
	return i.Method.is6() || i.Method == MethodStatic && i.Static.Addr.Addr().Is6()
}

// A Plan is what is wanted of the network.
type Plan struct {
	Renames []Rename
	Bonds   []Bond
	VLANs   []VLAN
	// Interfaces are tried at the same time, and the first whose lease leads to the
	// server leads to the root. The others keep their addresses, except those of an
	// Interface that takes any NIC.
	Interfaces []Interface
	// Ignore are NICs that are left as they are.
	Ignore []string
	// Routes are added to those of the leases.
	Routes []DeviceRoute
	// DNS are name servers that come before those of a lease; with OnlyDNS those
	// that a server gave are left out.
	DNS     []netip.Addr
	OnlyDNS bool
}

// A DeviceRoute is a route over a device, or, where Device is empty, over the one
// in whose network the gateway is.
type DeviceRoute struct {
	Route
	Device string
}

// complete puts what the plan says for all NICs into a lease.
func (p *Plan) complete(w *Interface, l *Lease) {
	var routes []Route
	taken := map[netip.Prefix]bool{}
	for _, r := range p.Routes {
		elsewhere := r.Device != "" && r.Device != l.Device
		if r.Device == "" {
			elsewhere = w.Secondary || len(p.Interfaces) > 1 && !l.Addr.Contains(r.Gateway)
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
	if !p.OnlyDNS || len(w.Static.DNS) > 0 {
		dns = append(dns, l.DNS...)
	}
	l.DNS = dns
}

// Options say how a Plan is carried out.
type Options struct {
	// Sysfs is where sysfs is, /sys.
	Sysfs string
	// Preferred is the name of the NIC that is tried first where any may be used.
	// With TryAll all are tried at the same time.
	Preferred string
	TryAll    bool
	// BootMAC is the MAC of the NIC from which the firmware says that it booted:
	// where any NIC may be used, those with this MAC come before Preferred and are
	// tried alone for longer. Others are tried after that, because docks and adapters
	// show another MAC to the firmware than to the kernel. nil: unknown.
	BootMAC net.HardwareAddr
	// CarrierTime is how long to wait for a NIC and its carrier, LeaseTime how long
	// to wait for an address after that. A switch with spanning tree forwards
	// nothing for 30 to 50 s.
	CarrierTime, LeaseTime time.Duration
	// PreferRoot waits a little for a DHCP server that gives a root path. SkipProbe
	// uses an address without a check on the link whether it is in use.
	PreferRoot, SkipProbe bool
	// Rescan loads drivers for new devices, and those that were left out at first.
	// It is called while a NIC is missing, or after none has led to the server for
	// a while.
	Rescan func()
	// Reach tells whether the server answers over a lease that is applied. It is
	// called where there is more than one candidate.
	Reach func(ctx context.Context, l *Lease) error
	// Logf reports what an operator should know.
	Logf func(format string, args ...any)
	// WaitFor reports what is waited for, for a watchdog.
	WaitFor func(what string)
}

// override replaces fields of a lease by those that the Interface has.
func (i *Interface) override(l *Lease) {
	f := &i.Static
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
