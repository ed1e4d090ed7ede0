package network_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/networktest"
)

// A server that is slower than its nodes makes each of them try again, with
// NICs that are up and have addresses. Who it is and what it has stay.

// twice are two cards by name.
func twice(a, b network.Interface) network.Plan {
	a.Device, b.Device = "eth0", "eth1"
	return network.Plan{Interfaces: []network.Interface{a, b}}
}

// Two cards in one LAN: the kernel answers ARP for either address on both.
func TestAgainTwoCards(t *testing.T) {
	fixed := func(addr string) network.Interface {
		return network.Interface{Method: network.MethodStatic, Static: network.Lease{Addr: netip.MustParsePrefix(addr)}}
	}
	for name, plan := range map[string]network.Plan{
		"dhcp": twice(network.Interface{}, network.Interface{}), "any": {}, "static": twice(fixed("10.77.0.11/24"), fixed("10.77.0.12/24")),
	} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", networktest.Cable{})
				n.Plug("eth1", networktest.Cable{})
				server := n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:01,10.77.0.11", "--dhcp-host=52:54:00:77:00:02,10.77.0.12")
				n.Server.Listen("tcp4", nfsPort)
				for attempt := range 3 {
					n.must("eth0", "10.77.0.11/24", plan, network.Options{TryAll: attempt > 0})
				}
				if strings.Contains(server.Log(), "DHCPDECLINE") || n.says("is in use") {
					t.Errorf("said %q, the server: %s", n.said, server.Log())
				}
			})
		})
	}
}

// elsewhere puts eth0 into a LAN of its own with another DHCP server.
func elsewhere(n *node) {
	n.Server.Run("ip link add br1 type bridge forward_delay 0 mcast_snooping 0; ip addr add 10.99.0.1/24 dev br1; ip link set br1 up; ip link set p-eth0 master br1")
	n.Server.DNSMasq("--bind-interfaces", "--interface=br1", "--except-interface=lo", "--dhcp-range=10.99.0.100,10.99.0.199,255.255.255.0,1h", "--dhcp-option=3")
}

// The office's LAN answers at once, the cluster's switch port blocks for a
// while: its NIC is waited for.
func TestAgainSpanningTree(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Elsewhere: true})
		n.Plug("eth1", networktest.Cable{Elsewhere: true})
		n.Server.Run("ip link set br0 type bridge stp_state 1 forward_delay 1200; ip link set p-eth1 master br0")
		elsewhere(n)
		n.Server.DNSMasq("--bind-interfaces", "--interface=br0", "--except-interface=lo", pool)
		n.Server.Listen("tcp4", nfsPort)
		n.must("eth1", "", network.Plan{}, network.Options{TryAll: true, CarrierTime: time.Minute, LeaseTime: 90 * time.Second})
		n.isDown("eth0")
	})
}

// The server is asked by way of the NIC in question, and not by another one's
// address of the attempt before.
func TestAgainReach(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Elsewhere: true})
		n.Plug("eth1", networktest.Cable{})
		elsewhere(n)
		n.Server.DNSMasq("--bind-interfaces", "--interface=br0", "--except-interface=lo", "--dhcp-reply-delay=1", pool)
		n.must("eth0", "", twice(network.Interface{}, network.Interface{}), network.Options{})
		n.Server.Listen("tcp4", nfsPort)
		for range 2 {
			n.must("eth1", "", twice(network.Interface{}, network.Interface{}), network.Options{})
		}
	})
}

// A server that comes up while one lease is in hand and another is waited for.
func TestUpReachesLate(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Plug("eth1", networktest.Cable{Elsewhere: true})
		n.Server.Run("ip link set p-eth1 up")
		n.Server.DNSMasq(pool)
		timer := time.AfterFunc(8*time.Second, func() { n.Server.Listen("tcp4", nfsPort) })
		defer timer.Stop()
		start := time.Now()
		n.must("eth0", "", network.Plan{}, network.Options{TryAll: true, LeaseTime: time.Minute})
		if took := time.Since(start); took > 30*time.Second || n.says("the server does not answer over any lease") {
			t.Errorf("it took %v; said %q", took, n.said)
		}
		n.isDown("eth1")
	})
}

// Without an unasked advertisement by the router: it is asked.
func TestAgainRouter(t *testing.T) {
	for name, method := range map[string]network.Method{"router": network.MethodRouter, "dhcp": network.MethodDHCP6} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", networktest.Cable{})
				n.Server.DNSMasq("--enable-ra", "--dhcp-range=fd77::100,fd77::1ff,slaac,64,1h")
				asked := func() int {
					count, err := strconv.Atoi(n.Server.Run("awk '$1 == \"Icmp6InRouterSolicits\" { print $2 }' /proc/net/snmp6"))
					if err != nil {
						t.Fatal(err)
					}
					return count
				}
				var l *network.Lease
				var before int
				for range 2 {
					before = asked()
					var err error
					if l, _, err = n.up(network.Plan{Interfaces: []network.Interface{{Method: method}}}, network.Options{}); err != nil {
						t.Fatal(err)
					}
				}
				if l.Addr.Bits() != 64 || !l.Gateway().IsValid() {
					t.Errorf("lease %+v", l)
				}
				if asked() == before {
					t.Error("the router was not asked in the second attempt")
				}
				// What runs containers makes a router of the node.
				n.Run("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
				if out := n.Run("ip -6 route show default"); !strings.Contains(out, "via fe80::") {
					t.Errorf("the default route of a node that forwards is %q", out)
				}
			})
		})
	}
}

// A server that offers before the right one and then does not answer.
func TestUpDeadServer(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.FakeDHCP("br0", func(_ int, m *dhcpv4.DHCPv4) [][]byte {
			if m.MessageType() != dhcpv4.MessageTypeDiscover {
				return nil
			}
			return [][]byte{networktest.Reply(m, "10.77.0.200", dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 77, 0, 9})))}
		})
		other := n.Host("other", "10.77.0.2/24")
		other.DNSMasq("--dhcp-range=10.77.0.150,10.77.0.199,255.255.255.0,1h", "--dhcp-reply-delay=1")
		l := n.must("eth0", "", network.Plan{}, network.Options{LeaseTime: time.Minute})
		if l.ServerID.String() != "10.77.0.2" || !n.says("the DHCP server 10.77.0.9 offered 10.77.0.200, but does not answer the request for it") {
			t.Errorf("lease from %s, said %q", l.ServerID, n.said)
		}
	})
}

// Two words for one NIC: the boot's address stays.
func TestUpTwiceOneNIC(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.DNSMasq(pool)
		n.Server.Listen("tcp4", nfsPort)
		plan := network.Plan{Interfaces: []network.Interface{
			{Selector: network.Selector{Device: "eth0"}},
			{Selector: network.Selector{MAC: hardware(t, "52:54:00:77:00:01")}, Method: network.MethodStatic, Static: network.Lease{Addr: netip.MustParsePrefix("172.16.5.9/24")}},
		}}
		l := n.must("eth0", "", plan, network.Options{})
		if !strings.HasPrefix(l.Addr.String(), "10.77.") {
			t.Errorf("the lease is %s, by which the server is not reached", l.Addr)
		}
	})
}

func hardware(t *testing.T, s string) net.HardwareAddr {
	t.Helper()
	mac, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

// A driver names a card with two ports, of which the second has the cable.
func TestUpDriver(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Loose: true})
		n.Plug("eth1", networktest.Cable{})
		n.Server.DNSMasq(pool)
		n.Server.Listen("tcp4", nfsPort)
		sysfs := t.TempDir()
		for _, device := range []string{"eth0", "eth1"} {
			dir := filepath.Join(sysfs, "class/net", device, "device")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../../../bus/pci/drivers/mlx5_core", filepath.Join(dir, "driver")); err != nil {
				t.Fatal(err)
			}
		}
		l, _, err := network.Up(t.Context(), network.Plan{Interfaces: []network.Interface{{Selector: network.Selector{Driver: "mlx5_core"}}}}, network.Options{
			Sysfs: sysfs, Preferred: "eth0", CarrierTime: 20 * time.Second, LeaseTime: 20 * time.Second,
			Rescan: func() {}, Reach: n.reach, Logf: n.logf, WaitFor: func(string) {},
		})
		if err != nil || l.Device != "eth1" {
			t.Fatalf("%+v, %v, want eth1", l, err)
		}
		n.isDown("eth0")
	})
}

// A card that goes away while it asks, and comes back.
func TestUpComesBack(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.when("an answer from DHCP", func() { n.Unplug("eth0") })
		n.when("eth0 was removed", func() {
			n.Plug("eth0", networktest.Cable{})
			n.Server.DNSMasq(pool)
		})
		n.must("eth0", "", network.Plan{Interfaces: []network.Interface{{Selector: network.Selector{Device: "eth0"}}}}, network.Options{LeaseTime: 90 * time.Second})
	})
}

// Rebinding in a room with two servers, of which one does not know the node
// and is quicker.
func TestKeepTwoServers(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		// A busy machine may lose the first question; the next one comes after a minute.
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		other := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 77, 0, 9}))
		n.Server.FakeDHCP("br0", func(_ int, m *dhcpv4.DHCPv4) [][]byte {
			switch {
			case m.MessageType() == dhcpv4.MessageTypeDiscover:
				return [][]byte{networktest.Reply(m, "10.77.0.150", other), networktest.Reply(m, "10.77.0.11")}
			case m.ServerIdentifier() != nil:
				return [][]byte{networktest.Reply(m, "10.77.0.11")}
			}
			return [][]byte{networktest.Reply(m, "0.0.0.0", other, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak))}
		})
		n.Run("ip link set eth0 up; ip addr add 10.77.0.11/24 dev eth0")
		l := &network.Lease{
			Device: "eth0", MAC: hardware(t, "52:54:00:77:00:01"), Addr: netip.MustParsePrefix("10.77.0.11/24"),
			Time: time.Hour, T1: 30 * time.Minute, T2: 50 * time.Minute, Since: clock.Uptime() - 55*time.Minute,
		}
		lease := l.State(index(t, "eth0"), "")
		lease.OnRenewal = cancel
		lease.Renew(ctx, n.logf)
		if lease.Server.String() != "10.77.0.1" || n.says("instead") {
			t.Errorf("the lease is from %s now; said %q", lease.Server, n.said)
		}
	})
}
