package network

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Options of DHCP (RFC 2132, RFC 3397, RFC 3442, RFC 4578). They are read and set
// here, and not by the library's functions for each: these name an option by a type
// with a table of the names of all, which would make /init 50 kB larger.
const (
	optSubnetMask      = 1
	optRouter          = 3
	optDNS             = 6
	optHostName        = 12
	optDomain          = 15
	optRootPath        = 17
	optMTU             = 26
	optBroadcast       = 28
	optStaticRoutes    = 33
	optNTP             = 42
	optRequestedIP     = 50
	optLeaseTime       = 51
	optOverload        = 52
	optMessageType     = 53
	optServerID        = 54
	optParameters      = 55
	optMessage         = 56
	optMaxSize         = 57
	optRenewalTime     = 58
	optRebindingTime   = 59
	optVendorClass     = 60
	optClientID        = 61
	optBootFile        = 67
	optArchitecture    = 93
	optSearch          = 119
	optClasslessRoutes = 121
)

// requestedOptions are the options that a server is asked for. 121 has to be named
// before 3 and 33 (RFC 3442).
var requestedOptions = []byte{
	optSubnetMask, optClasslessRoutes, optRouter, optStaticRoutes, optDNS, optHostName, optDomain, optRootPath,
	optMTU, optBroadcast, optNTP, optRenewalTime, optRebindingTime, optSearch,
}

// messageType is 0 where a message does not say it.
func messageType(m *dhcpv4.DHCPv4) dhcpv4.MessageType {
	if v := m.Options[optMessageType]; len(v) == 1 {
		return dhcpv4.MessageType(v[0])
	}
	return 0
}

// serverID is the zero Addr where there is none.
func serverID(m *dhcpv4.DHCPv4) netip.Addr { return addrOf(m, optServerID) }

func textOf(m *dhcpv4.DHCPv4, code uint8) string { return string(m.Options[code]) }

// addrOf is the zero Addr where an option is absent or not one address.
func addrOf(m *dhcpv4.DHCPv4, code uint8) netip.Addr { return addr4(m.Options[code]) }

// addrsOf leaves out unspecified addresses. An option whose length does not fit has
// none.
func addrsOf(m *dhcpv4.DHCPv4, code uint8) (all []netip.Addr) {
	v := m.Options[code]
	if len(v)%4 != 0 {
		return nil
	}
	for ; len(v) > 0; v = v[4:] {
		if a := addr4(v[:4]); a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// secondsOf is 0 where an option is absent or has another length.
func secondsOf(m *dhcpv4.DHCPv4, code uint8) time.Duration {
	if v := m.Options[code]; len(v) == 4 {
		return time.Duration(binary.BigEndian.Uint32(v)) * time.Second
	}
	return 0
}

// classlessRoutes are those of option 121: for each the length of the mask, as many
// bytes of the destination as it needs, and the router. None where one is not valid.
func classlessRoutes(v []byte) (routes []Route) {
	for len(v) > 0 {
		bits := int(v[0])
		end := 1 + (bits+7)/8
		if bits > 32 || len(v) < end+4 {
			return nil
		}
		var dst [4]byte
		copy(dst[:], v[1:end])
		routes = append(routes, Route{Dst: netip.PrefixFrom(netip.AddrFrom4(dst), bits).Masked(), Gateway: addr4(v[end : end+4])})
		v = v[end+4:]
	}
	return routes
}
