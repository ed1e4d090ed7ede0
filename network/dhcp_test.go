package network

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

var mac = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

func ack(t *testing.T, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck),
		dhcpv4.WithYourIP(net.IPv4(10, 77, 0, 11)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
	}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	// By way of the wire, as a server would send it.
	parsed, err := dhcpv4.FromBytes(m.ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func opt(code dhcpv4.OptionCode, b ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(code, b)
}

func TestLeaseFrom(t *testing.T) {
	lease, err := leaseFrom(ack(t,
		dhcpv4.WithRouter(net.IPv4(10, 77, 0, 1)),
		dhcpv4.WithDNS(net.IPv4(10, 77, 0, 2), net.IPv4(10, 77, 0, 3)),
		dhcpv4.WithOption(dhcpv4.OptHostName("node11\x00")),
		dhcpv4.WithOption(dhcpv4.OptDomainName("sidus.test")),
		dhcpv4.WithOption(dhcpv4.OptRootPath("10.77.0.1:/srv/tree\x00\x00")),
		dhcpv4.WithOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{"a.test", "b.test"}})),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 77, 0, 1))),
		dhcpv4.WithLeaseTime(120),
		opt(dhcpv4.OptionInterfaceMTU, 0x23, 0x28),
		opt(dhcpv4.OptionNTPServers, 10, 77, 0, 4),
		opt(dhcpv4.OptionBroadcastAddress, 10, 77, 0, 255),
	), "eth0", mac)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, got, want string }{
		{"address", lease.Addr.String(), "10.77.0.11/24"},
		{"gateway", lease.Gateway().String(), "10.77.0.1"},
		{"second DNS", lease.DNS[1].String(), "10.77.0.3"},
		{"host name", lease.Hostname, "node11"},
		{"domain", lease.Domain, "sidus.test"},
		{"search", strings.Join(lease.Search, " "), "a.test b.test"},
		{"root path", lease.RootPath, "10.77.0.1:/srv/tree"},
		{"server", lease.ServerID.String(), "10.77.0.1"},
		{"NTP", lease.NTP[0].String(), "10.77.0.4"},
		{"broadcast", lease.Broadcast.String(), "10.77.0.255"},
		{"time", lease.Time.String(), "2m0s"},
		{"MAC", lease.MAC.String(), "52:54:00:00:00:01"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("%s = %q, want %q", tt.what, tt.got, tt.want)
			}
		})
	}
	if lease.MTU != 9000 {
		t.Errorf("MTU = %d, want 9000", lease.MTU)
	}
}

// Option 121 overrides option 3; a gateway of 0.0.0.0 means on the link.
func TestRoutes(t *testing.T) {
	router := dhcpv4.WithRouter(net.IPv4(10, 77, 0, 1))
	tests := []struct {
		name string
		mods []dhcpv4.Modifier
		want string
	}{
		{"none", nil, ""},
		{"router", []dhcpv4.Modifier{router}, "0.0.0.0/0 10.77.0.1"},
		{"121 without a default", []dhcpv4.Modifier{router, opt(dhcpv4.OptionClasslessStaticRoute, 16, 10, 88, 10, 77, 0, 9)},
			"10.88.0.0/16 10.77.0.9"},
		{"121 with a default and a host on the link", []dhcpv4.Modifier{router,
			opt(dhcpv4.OptionClasslessStaticRoute, 32, 10, 99, 0, 1, 0, 0, 0, 0, 0, 10, 99, 0, 1)},
			"10.99.0.1/32 invalid IP, 0.0.0.0/0 10.99.0.1"},
		{"33, before the router", []dhcpv4.Modifier{router, opt(dhcpv4.OptionStaticRoutingTable, 10, 88, 0, 0, 10, 77, 0, 9, 192, 168, 5, 0, 10, 77, 0, 8)},
			"10.88.0.0/32 10.77.0.9, 192.168.5.0/24 10.77.0.8, 0.0.0.0/0 10.77.0.1"},
		{"33 of a class, of a host, and what it must not have", []dhcpv4.Modifier{opt(dhcpv4.OptionStaticRoutingTable,
			10, 0, 0, 0, 10, 77, 0, 9, 10, 1, 2, 3, 10, 77, 0, 9, 0, 0, 0, 0, 10, 77, 0, 9, 224, 0, 0, 1, 10, 77, 0, 9, 1, 2)},
			"10.0.0.0/8 10.77.0.9, 10.1.2.3/32 10.77.0.9"},
		{"121 over 33", []dhcpv4.Modifier{opt(dhcpv4.OptionStaticRoutingTable, 10, 0, 0, 0, 10, 77, 0, 9),
			opt(dhcpv4.OptionClasslessStaticRoute, 16, 10, 88, 10, 77, 0, 9)}, "10.88.0.0/16 10.77.0.9"},
		{"damaged 121", []dhcpv4.Modifier{router, opt(dhcpv4.OptionClasslessStaticRoute, 33, 1)}, "0.0.0.0/0 10.77.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lease, err := leaseFrom(ack(t, tt.mods...), "eth0", mac)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				return
			}
			var got []string
			for _, r := range lease.Routes {
				got = append(got, r.Dst.String()+" "+r.Gateway.String())
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("%s: routes %q, want %q", tt.name, s, tt.want)
			}
		})
	}
}

func TestLeaseFromBadServers(t *testing.T) {
	for name, mods := range map[string][]dhcpv4.Modifier{
		"no address":      {dhcpv4.WithYourIP(net.IPv4zero)},
		"multicast":       {dhcpv4.WithYourIP(net.IPv4(224, 0, 0, 1))},
		"loopback":        {dhcpv4.WithYourIP(net.IPv4(127, 0, 0, 1))},
		"mask of holes":   {opt(dhcpv4.OptionSubnetMask, 255, 0, 255, 0)},
		"mask of 0.0.0.0": {opt(dhcpv4.OptionSubnetMask, 0, 0, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			if lease, err := leaseFrom(ack(t, mods...), "eth0", mac); err == nil {
				t.Errorf("%s: lease %+v, want an error", name, lease)
			}
		})
	}
	// Nonsense that can be done without is done without.
	lease, err := leaseFrom(ack(t, opt(dhcpv4.OptionHostName, []byte("a\nb")...), opt(dhcpv4.OptionRootPath, []byte("/x\x1b[2J")...),
		opt(dhcpv4.OptionInterfaceMTU, 0, 20), opt(dhcpv4.OptionDomainNameServer, 1, 2, 3)), "eth0", mac)
	if err != nil || lease.Hostname != "" || lease.RootPath != "" || lease.MTU != 0 || len(lease.DNS) != 0 {
		t.Errorf("lease %+v, %v, want all of it left out", lease, err)
	}
}

// Times: options 58 and 59, or fractions of the lease where they are absent or
// absurd, and none at all for a lease without an end.
func TestTimes(t *testing.T) {
	seconds := func(code dhcpv4.OptionCode, n uint32) dhcpv4.Modifier {
		return opt(code, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	t1, t2, whole := dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue, dhcpv4.OptionIPAddressLeaseTime
	for _, tt := range []struct {
		name string
		mods []dhcpv4.Modifier
		want string
	}{
		{"usual", []dhcpv4.Modifier{seconds(whole, 3600)}, "1h0m0s 30m0s 52m30s"},
		{"given", []dhcpv4.Modifier{seconds(whole, 3600), seconds(t1, 600), seconds(t2, 1200)}, "1h0m0s 10m0s 20m0s"},
		{"T1 behind T2", []dhcpv4.Modifier{seconds(whole, 3600), seconds(t1, 1300), seconds(t2, 800)}, "1h0m0s 11m40s 13m20s"},
		{"T2 behind the end", []dhcpv4.Modifier{seconds(whole, 80), seconds(t2, 90)}, "1m20s 40s 1m10s"},
		{"for ever", []dhcpv4.Modifier{seconds(whole, 1<<32-1), seconds(t1, 10)}, "0s 0s 0s"},
		{"none", nil, "0s 0s 0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := leaseFrom(ack(t, tt.mods...), "eth0", mac)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(l.Time, l.T1, l.T2); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		})
	}
}

// What did not fit among the options is in the fields that option 52 names, and
// does not win over them.
func TestOverload(t *testing.T) {
	m, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithYourIP(net.IPv4(10, 77, 0, 11)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), opt(dhcpv4.OptionOptionOverload, 3), dhcpv4.WithOption(dhcpv4.OptHostName("first")))
	if err != nil {
		t.Fatal(err)
	}
	b := m.ToBytes()
	copy(b[fileOffset:fileEnd], "\x0c\x06second\x11\x04/srv\xff")
	copy(b[snameOffset:snameEnd], "\x0f\x0asidus.test\xff")
	l, err := leaseFrom(parseMessage(b), "eth0", mac)
	if err != nil || l.Hostname != "first" || l.RootPath != "/srv" || l.Domain != "sidus.test" || l.BootFile != "" {
		t.Errorf("lease %+v, %v", l, err)
	}
	// A damaged field is no reason to lose the rest.
	copy(b[fileOffset:fileEnd], "\x11\xf0/srv")
	if l, err := leaseFrom(parseMessage(b), "eth0", mac); err != nil || l.Hostname != "first" || l.RootPath != "" {
		t.Errorf("damaged: %+v, %v", l, err)
	}
}

// A packet is for this client if addresses, lengths and port say so.
func TestUDP(t *testing.T) {
	from, to := netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67")
	for _, payload := range []string{"", "x", "even", "odd12"} {
		t.Run(payload, func(t *testing.T) {
			b := wrapUDP(from, to, []byte(payload))
			if checksum(0, b[:ip4Header]) != 0 {
				t.Errorf("%q: the header's checksum is wrong", payload)
			}
			sum := checksum(protocolUDP+uint32(len(b)-ip4Header), append(append([]byte{}, b[12:20]...), b[ip4Header:]...))
			if sum != 0 {
				t.Errorf("%q: UDP's checksum is wrong", payload)
			}
			got, ok := unwrapUDP(append(b, "padding"...), 67)
			if !ok || string(got) != payload {
				t.Errorf("unwrapUDP = %q, %v, want %q", got, ok, payload)
			}
			if _, ok := unwrapUDP(b, 68); ok {
				t.Errorf("%q: taken for another port", payload)
			}
			for i := range b {
				unwrapUDP(b[:i], 67) // Nothing but no panic.
			}
		})
	}
}

// A server that sends no netmask means the address's class.
func TestClassfulMask(t *testing.T) {
	for ip, want := range map[string]string{"10.1.2.3": "10.1.2.3/8", "172.16.0.9": "172.16.0.9/16", "192.168.1.1": "192.168.1.1/24"} {
		t.Run(ip, func(t *testing.T) {
			m := ack(t, dhcpv4.WithYourIP(net.ParseIP(ip)))
			m.Options.Del(dhcpv4.OptionSubnetMask)
			if lease, err := leaseFrom(m, "eth0", mac); err != nil || lease.Addr.String() != want {
				t.Errorf("%s: %v, %v, want %s", ip, lease, err, want)
			}
		})
	}
}

// FuzzLease: whatever comes over the wire, nothing panics, and what is taken
// can go into files and into the kernel.
func FuzzLease(f *testing.F) {
	m, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithYourIP(net.IPv4(10, 0, 0, 1)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(10, 0, 0, 2)),
		opt(dhcpv4.OptionClasslessStaticRoute, 16, 10, 88, 10, 77, 0, 9),
		opt(dhcpv4.OptionDNSDomainSearchList, 1, 'a', 0xc0, 0), dhcpv4.WithOption(dhcpv4.OptRootPath("/srv")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.ToBytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := parseMessage(b)
		if m == nil {
			return
		}
		l, err := leaseFrom(m, "eth0", mac)
		if err != nil {
			return
		}
		if !l.Addr.IsValid() || l.MTU < 0 || l.Time < 0 || l.Time > 1<<32*time.Second || l.Time > 0 && !(0 < l.T1 && l.T1 < l.T2 && l.T2 < l.Time) {
			t.Errorf("lease %+v", l)
		}
		for _, s := range append([]string{l.Hostname, l.Domain, l.RootPath, l.BootFile}, l.Search...) {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("control character in %q", s)
			}
		}
		for _, r := range l.Routes {
			if !r.Dst.IsValid() {
				t.Errorf("route %+v", r)
			}
		}
	})
}
