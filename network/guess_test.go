package network_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/networktest"
)

// The firmware booted from a card that the kernel does not know by that MAC, as
// with docks and adapters: after a short wait it is as if it had said nothing.
// Who was chosen by the operator is waited for.
func TestUpGuessAbsent(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Plug("eth1", networktest.Cable{})
		n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:01,10.77.0.11")
		start := time.Now()
		n.must("eth0", "10.77.0.11/24", network.Plan{}, network.Options{BootMAC: mac(99)})
		if took := time.Since(start); took < 4*time.Second || took > 12*time.Second {
			t.Errorf("it took %v, want 5 s and a little", took)
		}
		if !n.says("no NIC has the MAC 52:54:00:77:00:63, which the firmware booted from (BOOTIF=), only eth0, eth1: any NIC is used") || n.says("THIS NODE BOOTS FROM") {
			t.Errorf("said %q", n.said)
		}
		n.isDown("eth1")
		_, _, err := n.up(network.Plan{Interfaces: []network.Interface{{Selector: network.Selector{MAC: mac(99)}}}}, network.Options{CarrierTime: 7 * time.Second})
		var none *network.NoDeviceError
		if !errors.As(err, &none) || none.Device != "52:54:00:77:00:63" {
			t.Errorf("by sidus.nic=: %v", err)
		}
	})
}

// It turns up late, by USB, after its driver was looked for again.
func TestUpGuessLate(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:02,10.77.0.12")
		rescans := 0
		n.must("eth1", "10.77.0.12/24", network.Plan{}, network.Options{BootMAC: mac(2), Rescan: func() {
			if rescans++; rescans == 3 {
				n.Plug("eth1", networktest.Cable{})
			}
		}})
		n.isDown("eth0")
	})
}

// The cable is in another card than the one that the firmware names.
func TestUpGuessDown(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Plug("eth1", networktest.Cable{Loose: true})
		n.Server.DNSMasq(pool)
		n.Server.Listen("tcp4", nfsPort)
		n.must("eth0", "", network.Plan{}, network.Options{BootMAC: mac(2)})
		n.isDown("eth1")
		if !n.says("no address on eth1 so far: trying eth0 as well") || !n.says("THIS NODE BOOTS FROM eth0") {
			t.Errorf("said %q", n.said)
		}
	})
}

// Two cards have the MAC, and the second one leads to the server: both are
// tried, by the firmware's word and by the operator's.
func TestUpOneMACTwice(t *testing.T) {
	for name, o := range map[string]struct {
		way   network.Interface
		guess net.HardwareAddr
	}{
		"guess":  {guess: mac(7)},
		"choice": {way: network.Interface{Selector: network.Selector{MAC: mac(7)}}},
	} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", networktest.Cable{})
				n.Plug("eth1", networktest.Cable{MAC: mac(7).String(), Elsewhere: true})
				n.Plug("eth2", networktest.Cable{MAC: mac(7).String()})
				server := n.Server.DNSMasq(pool, "--dhcp-host="+mac(7).String()+",10.77.0.17")
				n.Server.Listen("tcp4", nfsPort)
				n.must("eth2", "10.77.0.17/24", network.Plan{Interfaces: []network.Interface{o.way}}, network.Options{BootMAC: o.guess, LeaseTime: 20 * time.Second})
				n.isDown("eth0")
				if strings.Contains(server.Log(), "DHCPRELEASE") {
					t.Errorf("the lease was given back: %s", server.Log())
				}
			})
		})
	}
}

// eth0 has a link and no answer, or no link. The NIC that leads to the server is
// behind USB, whose drivers were left out: they are looked for after a while.
func TestUpBehindUSB(t *testing.T) {
	for name, cable := range map[string]networktest.Cable{"silent": {Elsewhere: true}, "down": {Loose: true}} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", cable)
				n.Server.DNSMasq(pool)
				n.Server.Listen("tcp4", nfsPort)
				start, plugged := time.Now(), time.Duration(0)
				l := n.must("eth1", "", network.Plan{}, network.Options{Rescan: func() {
					if plugged == 0 {
						plugged = time.Since(start)
						n.Plug("eth1", networktest.Cable{})
					}
				}})
				if plugged < 4*time.Second || plugged > 15*time.Second || l.Device != "eth1" {
					t.Errorf("drivers were looked for again after %v", plugged)
				}
			})
		})
	}
}

// Where all is well USB is left alone.
func TestUpNoRescan(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.DNSMasq(pool, "--dhcp-reply-delay=2")
		rescans := 0
		n.must("eth0", "", network.Plan{}, network.Options{BootMAC: mac(1), Rescan: func() { rescans++ }})
		if rescans > 0 {
			t.Errorf("drivers were looked for again %d times", rescans)
		}
	})
}

// Of two cards that are named one is not there yet, while the other one runs.
func TestUpNamedBehindUSB(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Elsewhere: true})
		n.Server.DNSMasq(pool)
		n.Server.Listen("tcp4", nfsPort)
		rescans := 0
		n.must("eth1", "", twice(network.Interface{}, network.Interface{}), network.Options{Rescan: func() {
			if rescans++; rescans == 2 {
				n.Plug("eth1", networktest.Cable{})
			}
		}})
	})
}

// A network without IPv4: DHCP gets no answer, and what to say is told, early
// and in the error.
func TestUpOnlyIPv6(t *testing.T) {
	for name, words := range map[string][]string{
		"prefix":  {"--enable-ra", "--dhcp-range=fd77::,ra-only"},
		"managed": {"--enable-ra", "--dhcp-range=fd77::100,fd77::1ff,64,1h"},
	} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", networktest.Cable{})
				n.Server.DNSMasq(words...)
				_, _, err := n.up(network.Plan{}, network.Options{LeaseTime: 30 * time.Second})
				const hint = "An IPv6 router is on this link"
				if err == nil || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), "ip=auto6") || !n.says("no answer from DHCP so far. "+hint) {
					t.Errorf("%v; said %q", err, n.said)
				}
				var failed *network.NoAddressError
				if !errors.As(err, &failed) || !strings.Contains(failed.Table()[0], "but an IPv6 router is there") {
					t.Errorf("table %q", failed.Table())
				}
			})
		})
	}
	t.Run("no router", func(t *testing.T) {
		isolated(t, func(n *node) {
			n.Plug("eth0", networktest.Cable{})
			if _, _, err := n.up(network.Plan{}, network.Options{LeaseTime: 8 * time.Second}); err == nil || strings.Contains(err.Error(), "IPv6") {
				t.Errorf("%v", err)
			}
		})
	})
}

// Any card by DHCP and by DHCPv6 at once, ip=dhcp,dhcp6: whichever the network
// has.
func TestUpBothFamilies(t *testing.T) {
	for name, tt := range map[string]struct{ words, network, addr string }{
		"IPv4": {pool, "tcp4", "10.77.0.11/24"},
		"IPv6": {"--dhcp-range=fd77::100,fd77::1ff,64,1h", "tcp6", "fd77::111/64"},
	} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", networktest.Cable{})
				n.Server.DNSMasq("--enable-ra", tt.words, "--dhcp-host=52:54:00:77:00:01,10.77.0.11,[fd77::111]")
				n.Server.Listen(tt.network, nfsPort)
				l, _, err := n.up(network.Plan{Interfaces: []network.Interface{{}, {Method: network.MethodDHCP6}}}, network.Options{})
				if err != nil || l.Addr.String() != tt.addr || n.reach(t.Context(), l) != nil {
					t.Errorf("lease %+v, %v, want %s", l, err, tt.addr)
				}
				if out := n.Run("ip -o link show dev eth0"); !strings.Contains(out, "LOWER_UP") {
					t.Errorf("eth0 is %s", out)
				}
			})
		})
	}
}

// A card is called by the name that udev would give it, in ip=, bond= and vlan=:
// it is given that name.
func TestUpNamedByPlace(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Plug("eth1", networktest.Cable{})
		n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:02,10.77.0.12")
		plan := network.Plan{Interfaces: []network.Interface{{Selector: network.Selector{Device: "enx525400770002"}}}}
		for range 2 {
			n.must("enx525400770002", "10.77.0.12/24", plan, network.Options{})
		}
		n.isDown("eth0")
	})
}
