package network_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/networktest"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func logged(s *networktest.Server, text string) int { return strings.Count(s.Log(), text) }

// By a router's prefix, with name servers from the router, or from a DHCPv6
// server that the router points to.
func TestUpByRouter(t *testing.T) {
	for name, words := range map[string][]string{
		"router":    {"--enable-ra", "--dhcp-range=fd77::,ra-only", "--dhcp-option=option6:dns-server,[fd77::53]", "--dhcp-option=option6:domain-search,a.test,b.test"},
		"stateless": {"--enable-ra", "--dhcp-range=fd77::,ra-stateless", "--dhcp-option=option6:dns-server,[fd77::53]", "--dhcp-option=option6:domain-search,a.test,b.test", "--dhcp-option=option6:59,nfs://[fd77::1]/srv/tree"},
	} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", networktest.Cable{})
				n.Server.DNSMasq(words...)
				l := n.must("eth0", "fd77::5054:ff:fe77:1/64", network.Plan{Interfaces: []network.Interface{{Method: network.MethodRouter}}}, network.Options{})
				dns, search := "", strings.Join(l.Search, " ")
				for _, a := range l.DNS {
					dns += a.String()
				}
				if l.Proto != "auto6" || dns != "fd77::53" || search != "a.test b.test" || l.Time != 0 {
					t.Errorf("lease %+v", l)
				}
				if want := map[string]string{"stateless": "nfs://[fd77::1]/srv/tree"}[name]; l.RootPath != want {
					t.Errorf("root path %q, want %q", l.RootPath, want)
				}
				if !l.Gateway().IsLinkLocalUnicast() {
					t.Errorf("gateway %s", l.Gateway())
				}
			})
		})
	}
}

// By DHCPv6, because the router says so, or because the plan does.
func TestUpByDHCP6(t *testing.T) {
	for name, method := range map[string]network.Method{"router": network.MethodRouter, "plan": network.MethodDHCP6} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", networktest.Cable{})
				server := n.Server.DNSMasq("--enable-ra", "--dhcp-range=fd77::100,fd77::1ff,64,1h", "--dhcp-option=option6:dns-server,[fd77::53]",
					"--dhcp-host=52:54:00:77:00:01,[fd77::111]")
				n.Server.Listen("tcp6", nfsPort)
				l, _, err := n.up(network.Plan{Interfaces: []network.Interface{{Method: method}}}, network.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if l.Proto != "dhcp6" || l.Addr.String() != "fd77::111/64" || l.Time != time.Hour || l.DHCP6 == nil || len(l.DNS) != 1 {
					t.Errorf("lease %+v", l)
				}
				if err := n.reach(t.Context(), l); err != nil {
					t.Error(err)
				}
				// And renewed, by the same server and by any.
				lease := l.State(index(t, "eth0"), "")
				for _, age := range []time.Duration{l.T1, l.T2} {
					before := logged(server, "DHCPREPLY")
					lease.Since -= age
					keepOnce(t, n, lease, func() bool { return logged(server, "DHCPREPLY") > before })
				}
				if logged(server, "DHCPRENEW") == 0 || logged(server, "DHCPREBIND") == 0 {
					t.Errorf("the server says\n%s", server.Log())
				}
			})
		})
	}
}

// Somebody has the address that the server gives: the kernel finds out.
func TestUpDHCP6AddressTaken(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		squatter := n.Host("squatter", "10.77.0.50/24")
		squatter.Run("ip -6 addr add fd77::111/64 dev eth0 nodad")
		server := n.Server.DNSMasq("--enable-ra", "--dhcp-range=fd77::100,fd77::1ff,64,1h", "--dhcp-host=52:54:00:77:00:01,[fd77::111]")
		_, _, err := n.up(network.Plan{Interfaces: []network.Interface{{Method: network.MethodDHCP6}}}, network.Options{})
		var used *network.InUseError
		for range 1000 {
			if logged(server, "DHCPDECLINE") > 0 {
				break
			}
			time.Sleep(20 * time.Millisecond) // It is on its way.
		}
		if !errors.As(err, &used) || used.Addr.String() != "fd77::111" || logged(server, "DHCPDECLINE") == 0 {
			t.Errorf("%v; the server says\n%s", err, server.Log())
		}
		if out := n.Run("ip -6 -o addr show dev eth0"); contains(out, "fd77::111") {
			t.Errorf("eth0 has %q", out)
		}
	})
}

// No router, and a static address with a gateway.
func TestUpStatic6(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.Listen("tcp6", nfsPort)
		_, _, err := n.up(network.Plan{Interfaces: []network.Interface{{Method: network.MethodRouter}}}, network.Options{LeaseTime: 3 * time.Second})
		var none *network.NoRouterError
		if !errors.As(err, &none) || none.Device != "eth0" {
			t.Errorf("no router: %v", err)
		}
		everywhere := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		way := network.Interface{Method: network.MethodStatic, Static: network.Lease{Addr: netip.MustParsePrefix("fd77::7/64"),
			Routes: []network.Route{{Dst: everywhere, Gateway: netip.MustParseAddr("fd77::1")}}}}
		l := n.must("eth0", "fd77::7/64", network.Plan{Interfaces: []network.Interface{way}}, network.Options{})
		if err := n.reach(t.Context(), l); err != nil {
			t.Error(err)
		}
		if out := n.Run("ip -6 route show default"); !contains(out, "via fd77::1 dev eth0") {
			t.Errorf("default route %q", out)
		}
		// Taken over the kernel's own look.
		n.Host("squatter", "10.77.0.50/24").Run("ip -6 addr add fd77::9/64 dev eth0 nodad")
		way.Static.Addr = netip.MustParsePrefix("fd77::9/64")
		_, _, err = n.up(network.Plan{Interfaces: []network.Interface{way}}, network.Options{})
		var used *network.InUseError
		if !errors.As(err, &used) {
			t.Errorf("an address that is taken: %v", err)
		}
	})
}
