package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/network/ipv4"
)

// errUnreadable is an answer over which the library panics.
var errUnreadable = errors.New("the server's answer cannot be read")

// leaseFrom reads an ACK or an OFFER. Options are decoded only here, so that here
// too a panic over what a server sent must not end the process.
func leaseFrom(m *dhcpv4.DHCPv4, device string, mac net.HardwareAddr) (lease *Lease, err error) {
	defer func() {
		if recover() != nil {
			lease, err = nil, errUnreadable
		}
	}()
	addr, ok := netip.AddrFromSlice(m.YourIPAddr.To4())
	if !ok || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return nil, fmt.Errorf("the server's answer has no usable address: %v", m.YourIPAddr)
	}
	l := &Lease{
		Device: device, MAC: mac, Proto: "dhcp",
		Domain:     cleanName(textOf(m, optDomain)),
		Hostname:   cleanName(textOf(m, optHostName)),
		RootPath:   cleanText(textOf(m, optRootPath)),
		BootFile:   cleanText(m.BootFileName),
		DNS:        addrsOf(m, optDNS),
		NTP:        addrsOf(m, optNTP),
		NextServer: addr4(m.ServerIPAddr),
		ServerID:   serverID(m),
		Broadcast:  addrOf(m, optBroadcast),
	}
	bits, ok := ipv4.ClassBits(addr)
	if mask := net.IPMask(m.Options[optSubnetMask]); len(mask) == net.IPv4len {
		ones, size := mask.Size()
		if size != 32 || ones == 0 {
			return nil, fmt.Errorf("the server's netmask %v is not valid: after a zero bit comes a one", net.IP(mask))
		}
		bits, ok = ones, true
	}
	if !ok {
		return nil, fmt.Errorf("the server's answer has no netmask for %s", addr)
	}
	l.Addr = netip.PrefixFrom(addr, bits)
	if search, err := rfc1035label.FromBytes(m.Options[optSearch]); err == nil {
		for _, label := range search.Labels {
			if label = cleanName(label); label != "" {
				l.Search = append(l.Search, label)
			}
		}
	}
	if mtu := m.Options[optMTU]; len(mtu) == 2 && binary.BigEndian.Uint16(mtu) >= minMTU {
		l.MTU = int(binary.BigEndian.Uint16(mtu))
	}
	for _, s := range []struct{ what, sent, taken string }{
		{"host name (option 12)", textOf(m, optHostName), l.Hostname},
		{"domain (option 15)", textOf(m, optDomain), l.Domain},
		{"root path (option 17)", textOf(m, optRootPath), l.RootPath},
		{"boot file name", m.BootFileName, l.BootFile},
	} {
		if s.taken == "" && strings.Trim(s.sent, lineEnds) != "" {
			l.Unusable = append(l.Unusable, fmt.Sprintf("%s %q", s.what, s.sent))
		}
	}
	l.Routes = routesFrom(m)
	l.Time, l.T1, l.T2 = leaseTimes(secondsOf(m, optLeaseTime), secondsOf(m, optRenewalTime), secondsOf(m, optRebindingTime))
	l.Since = clock.Uptime()
	return l, nil
}

// minMTU is what every host must accept (RFC 791); a server that gives less is
// misconfigured.
const minMTU = 576

// forever is a lease that does not end (RFC 2131, section 3.3; RFC 8415, section
// 7.7).
const forever = (1<<32 - 1) * time.Second

// leaseTimes are a lease's length and when to renew and rebind it: as the server
// says, or the usual fractions where it says nothing, or nonsense (RFC 2131,
// section 4.4.5; RFC 8415, section 21.4).
func leaseTimes(length, renew, rebind time.Duration) (lease, t1, t2 time.Duration) {
	if length >= forever || length <= 0 {
		return 0, 0, 0
	}
	lease, t1, t2 = length, renew, rebind
	if t2 <= 0 || t2 >= lease {
		t2 = lease / 8 * 7
	}
	if t1 <= 0 || t1 >= t2 {
		t1 = min(lease/2, t2/8*7)
	}
	return lease, t1, t2
}

// routesFrom are those of option 121, which makes a client ignore options 33
// and 3 (RFC 3442), else those of option 33 and the first router of option 3.
func routesFrom(m *dhcpv4.DHCPv4) []Route {
	routes := classlessRoutes(m.Options[optClasslessRoutes])
	if len(routes) > 0 {
		return routes
	}
	// Pairs of a destination and a router (RFC 2132, section 5.8). A default
	// route is not allowed among them.
	pairs := m.Options[optStaticRoutes]
	for ; len(pairs) >= 8; pairs = pairs[8:] {
		dst, gw := addr4(pairs[:4]), addr4(pairs[4:8])
		if !dst.IsValid() || !gw.IsValid() || dst.IsMulticast() || dst.IsLoopback() {
			continue
		}
		bits, ok := ipv4.ClassBits(dst)
		if !ok || dst != netip.PrefixFrom(dst, bits).Masked().Addr() {
			bits = 32 // A host.
		}
		routes = append(routes, Route{Dst: netip.PrefixFrom(dst, bits), Gateway: gw})
	}
	for _, gw := range addrsOf(m, optRouter) {
		return append(routes, Route{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: gw})
	}
	return routes
}

// lineEnds are what servers and web forms leave around a string: a NUL, a line
// end, blanks.
const lineEnds = "\x00 \t\r\n\v\f"

// cleanText is a string as some servers send it, without lineEnds. Control
// characters must not get into files and messages: a string with one is empty.
func cleanText(s string) string {
	s = strings.Trim(s, lineEnds)
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return ""
		}
	}
	return strings.TrimSpace(s)
}

// cleanName is a string for files whose readers expect UTF-8. A path may be any
// bytes.
func cleanName(s string) string {
	if s = cleanText(s); !utf8.ValidString(s) {
		return ""
	}
	return s
}

// addr4 is the zero Addr where ip is absent or no IPv4 address.
func addr4(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
