package network

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzOptions compares what is read of single options with what the library reads.
func FuzzOptions(f *testing.F) {
	for _, b := range [][]byte{{}, {0}, {5}, {10, 0, 0, 1}, {10, 0, 0, 1, 10, 0, 0, 2}, {0, 0, 0, 0}, {10, 0, 0, 1, 9},
		{24, 10, 77, 0, 10, 77, 0, 1, 0, 10, 77, 0, 1}, {33, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {8, 10, 0, 0, 0}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &dhcpv4.DHCPv4{Options: dhcpv4.Options{}}
		for _, code := range []uint8{optDNS, optBroadcast, optMessageType, optServerID, optLeaseTime, optClasslessRoutes} {
			m.Options[code] = b
		}
		if got, want := messageType(m), m.MessageType(); got != want {
			t.Errorf("message type %d, want %d", got, want)
		}
		if got, want := serverID(m), addr4(m.ServerIdentifier()); got != want {
			t.Errorf("server %s, want %s", got, want)
		}
		if got, want := addrOf(m, optBroadcast), addr4(m.BroadcastAddress()); got != want {
			t.Errorf("broadcast %s, want %s", got, want)
		}
		if got, want := secondsOf(m, optLeaseTime), m.IPAddressLeaseTime(0); got != want {
			t.Errorf("lease %s, want %s", got, want)
		}
		var addrs []netip.Addr
		for _, ip := range m.DNS() {
			if a := addr4(ip); a.IsValid() {
				addrs = append(addrs, a)
			}
		}
		if got := addrsOf(m, optDNS); !slices.Equal(got, addrs) {
			t.Errorf("name servers %s, want %s", got, addrs)
		}
		var routes []Route
		for _, r := range m.ClasslessStaticRoute() {
			bits, _ := r.Dest.Mask.Size()
			dst, _ := netip.AddrFromSlice(r.Dest.IP.To4())
			routes = append(routes, Route{Dst: netip.PrefixFrom(dst, bits).Masked(), Gateway: addr4(net.IP(r.Router))})
		}
		if got := classlessRoutes(b); !slices.Equal(got, routes) {
			t.Errorf("routes %v, want %v", got, routes)
		}
	})
}
