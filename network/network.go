// Package network finds the NIC by which the node boots and gives it an
// address: link, carrier, DHCP or a static address or IPv6, a check whether the
// address is in use (RFC 5227), routes and MTU. It makes VLANs and bonds first.
// It also renews leases after the boot.
//
// What is wanted comes as a Plan. The package reads sysfs and writes
// /proc/sys/net/ipv6/conf. It needs the NIC's driver and af_packet, for VLANs
// 8021q and for bonds bonding.
package network

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/sidusboot/sidusboot/dns"
)

// A Lease is what a DHCP server, a parameter or a router gave.
type Lease struct {
	Device string
	MAC    net.HardwareAddr
	// Addr is the node's address with the length of its netmask.
	Addr      netip.Prefix
	Broadcast netip.Addr
	// Routes are in the order in which they are to be set. The default route
	// has a destination of length 0.
	Routes []Route
	// Metric is that of the routes, 0 for the NIC that leads to the root.
	Metric int
	DNS    []netip.Addr
	// Domain is option 15, Search option 119.
	Domain   string
	Search   []string
	Hostname string
	MTU      int
	NTP      []netip.Addr
	// RootPath is option 17 as it came, without NULs, line ends and blanks
	// around it.
	RootPath string
	// Unusable describes texts of the server that hold control characters. They are
	// left out of the lease.
	Unusable []string
	// NextServer is siaddr, ServerID option 54; the zero Addr where absent.
	NextServer, ServerID netip.Addr
	// Time is the lease's length, 0 for one that does not end. T1 and T2 are
	// when to renew and to rebind it (RFC 2131, section 4.4.5).
	Time, T1, T2 time.Duration
	// Since is when the lease began, on the clock of clock.Uptime.
	Since time.Duration
	// ClientID is option 61 as this node sent it: a server knows the lease by it.
	ClientID string
	// BootFile is the file name that the server gave (klibc's filename).
	BootFile string
	// Proto is "dhcp" or "none", as klibc's ipconfig names them, or "auto6" or
	// "dhcp6".
	Proto string
	// DHCP6 is what a DHCPv6 server must be asked by to renew the address.
	DHCP6 *DHCP6Binding
}

// A DHCP6Binding is a lease of an IPv6 address as its server knows it. Lease.Time,
// T1 and T2 say how long it lasts.
type DHCP6Binding struct {
	Server []byte // The server's DUID.
	IAID   uint32
}

// A Route leads to Dst by way of Gateway, or directly where Gateway is the
// zero Addr.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr
}

// Gateway is the default route's, or the zero Addr.
func (l *Lease) Gateway() netip.Addr {
	for _, r := range l.Routes {
		if r.Dst.Bits() == 0 {
			return r.Gateway
		}
	}
	return netip.Addr{}
}

// SearchDomains is the search list: option 119, or the domain of option 15
// without it.
func (l *Lease) SearchDomains() []string {
	if len(l.Search) > 0 || l.Domain == "" {
		return l.Search
	}
	return []string{l.Domain}
}

// Resolver asks the lease's name servers.
func (l *Lease) Resolver() *dns.Resolver {
	return &dns.Resolver{Servers: l.DNS, Search: l.SearchDomains(), V6: l.Addr.Addr().Is6()}
}

// NextHop is the host on the link to which packets for an address are sent: that
// address or a router. It is the zero Addr where the lease has no route there.
func (l *Lease) NextHop(to netip.Addr) netip.Addr {
	best, hop := -1, netip.Addr{}
	if l.Addr.Contains(to) {
		best, hop = l.Addr.Bits(), to
	}
	for _, r := range l.Routes {
		if !r.Dst.Contains(to) || r.Dst.Bits() <= best {
			continue
		}
		best, hop = r.Dst.Bits(), r.Gateway
		if !hop.IsValid() {
			hop = to
		}
	}
	return hop
}

// poll calls ready every interval until it is true, fails, or ctx ends.
func poll(ctx context.Context, interval time.Duration, ready func() (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		ok, err := ready()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
