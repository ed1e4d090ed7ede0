package network_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/networktest"
)

// answerProbes answers each ARP probe for an address that reaches a device of
// the host with a probe of its own: from no address, for the same one.
func answerProbes(n *node, h *networktest.Host, device string, mac net.HardwareAddr, addr netip.Addr, seen func(count int)) *atomic.Int32 {
	n.t.Helper()
	const proto = unix.ETH_P_ARP<<8&0xff00 | unix.ETH_P_ARP>>8
	var fd, index int
	err := h.Do(func() error {
		i, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		index = i.Index
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: index})
	})
	if err != nil {
		n.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "arp")
	n.t.Cleanup(func() { f.Close() })
	target := addr.As4()
	probe := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	probe = append(append(probe, mac...), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	probe = append(probe, target[:]...)
	all := &unix.SockaddrLinklayer{Protocol: proto, Ifindex: index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	var count atomic.Int32
	go func() {
		b := make([]byte, 64)
		for {
			got, err := f.Read(b)
			if err != nil {
				return
			}
			// Requests for the address from none, and not our own.
			if got < 28 || b[7] != 1 || string(b[14:18]) != "\x00\x00\x00\x00" || string(b[24:28]) != string(target[:]) || string(b[8:14]) == string(mac) {
				continue
			}
			// Before the answer: what it does has to be done when the node asks again.
			seen(int(count.Add(1)))
			if unix.Sendto(fd, probe, 0, all) != nil {
				return
			}
		}
	}()
	return &count
}

// A switch that asks where its hosts are, from 0.0.0.0, whenever the node asks
// whether its address is free: at this boot, and at every other one. The node
// gets its reserved address all the same, whose MAC ever is the lower one.
func TestUpDeviceTracking(t *testing.T) {
	for name, mac := range map[string]net.HardwareAddr{"lower": {0, 0, 0xc, 7, 7, 7}, "higher": {0xa8, 0, 0xc, 7, 7, 7}} {
		t.Run(name, func(t *testing.T) {
			isolated(t, func(n *node) {
				n.Plug("eth0", networktest.Cable{})
				server := n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:01,10.77.0.11")
				count := answerProbes(n, n.Server, "br0", mac, netip.MustParseAddr("10.77.0.11"), func(int) {})
				start := time.Now()
				n.must("eth0", "10.77.0.11/24", network.Plan{}, network.Options{})
				if strings.Contains(server.Log(), "DHCPDECLINE") || n.says("in use") {
					t.Errorf("said %q, the server: %s", n.said, server.Log())
				}
				if took := time.Since(start); took > 15*time.Second || count.Load() < 4 {
					t.Errorf("it took %v, and was probed %d times", took, count.Load())
				}
			})
		})
	}
}

// Three nodes were given one address at the same moment. The one in the middle
// sees that it is not the first, whichever of the others speaks last: of two that
// take themselves for the first both would have the address.
func TestUpTwoRivals(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:01,10.77.0.11")
		addr := netip.MustParseAddr("10.77.0.11")
		answerProbes(n, n.Server, "br0", net.HardwareAddr{0, 0, 0xc, 7, 7, 7}, addr, func(int) {})
		answerProbes(n, n.Server, "br0", net.HardwareAddr{0xa8, 0, 0xc, 7, 7, 7}, addr, func(int) { time.Sleep(20 * time.Millisecond) })
		start := time.Now()
		n.must("eth0", "10.77.0.11/24", network.Plan{}, network.Options{})
		if took := time.Since(start); took < 3*time.Second {
			t.Errorf("it asked again after %v, not after those that come before it", took)
		}
	})
}

// One that asks for the address as the node does, and takes it: it was first.
func TestUpRival(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		rival := n.Host("rival", "10.77.9.9/32")
		server := n.Server.DNSMasq("--dhcp-range=10.77.0.50,10.77.0.51,255.255.255.0,1h", "--dhcp-sequential-ip")
		mac, err := net.ParseMAC(rival.Run("cat /proc/net/dev >/dev/null; ip -o link show eth0 | sed 's,.*link/ether \\([^ ]*\\).*,\\1,'"))
		if err != nil {
			t.Fatal(err)
		}
		answerProbes(n, rival, "eth0", mac, netip.MustParseAddr("10.77.0.50"), func(count int) {
			if count > 1 {
				return
			}
			// Not by ip(8): a busy machine takes a second to start it.
			err := rival.Do(func() error {
				link, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IP{10, 77, 0, 50}, Mask: net.CIDRMask(24, 32)}})
			})
			if err != nil {
				t.Error(err)
			}
		})
		n.must("eth0", "10.77.0.51/24", network.Plan{}, network.Options{LeaseTime: time.Minute})
		if !strings.Contains(server.Log(), "DHCPDECLINE(br0) 10.77.0.50") || !n.says(fmt.Sprintf("the address 10.77.0.50 is in use by %s", mac)) {
			t.Errorf("said %q", n.said)
		}
	})
}

// An ACK for the address that was offered is one without the server's
// identifier too; one for another address, or a NAK, is ignored.
func TestUpNoServerID(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		nobody := func(d *dhcpv4.DHCPv4) { d.Options.Del(dhcpv4.OptionServerIdentifier) }
		server := n.Server.FakeDHCP("br0", func(_ int, m *dhcpv4.DHCPv4) [][]byte {
			if m.MessageType() != dhcpv4.MessageTypeRequest {
				return [][]byte{networktest.Reply(m, "10.77.0.50")}
			}
			return [][]byte{
				networktest.Reply(m, "0.0.0.0", dhcpv4.WithMessageType(dhcpv4.MessageTypeNak), nobody),
				networktest.Reply(m, "10.77.0.66", nobody),
				networktest.Reply(m, "10.77.0.50", nobody),
			}
		})
		l := n.must("eth0", "10.77.0.50/24", network.Plan{}, network.Options{})
		// Whom to ask for more time, and to tell when it is given back.
		if l.ServerID.String() != networktest.ServerAddr || fmt.Sprint(server.Kinds()) != "[DISCOVER REQUEST]" {
			t.Errorf("lease of %v, it was asked %v", l.ServerID, server.Kinds())
		}
	})
}

// A root path with a line's end is one; one with something else in it is told.
func TestUpRootPathLineEnd(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		var path atomic.Value
		path.Store("10.77.0.1:/srv/tree\r\n")
		n.Server.FakeDHCP("br0", func(_ int, m *dhcpv4.DHCPv4) [][]byte {
			return [][]byte{networktest.Reply(m, "10.77.0.50", dhcpv4.WithOption(dhcpv4.OptRootPath(path.Load().(string))), dhcpv4.WithOption(dhcpv4.OptHostName("node7\n")))}
		})
		if l := n.must("eth0", "10.77.0.50/24", network.Plan{}, network.Options{}); l.RootPath != "10.77.0.1:/srv/tree" || l.Hostname != "node7" {
			t.Errorf("root path %q, host name %q", l.RootPath, l.Hostname)
		}
		path.Store("10.77.0.1:/srv\n/tree")
		if l := n.must("eth0", "10.77.0.50/24", network.Plan{}, network.Options{}); l.RootPath != "" || !n.says(`the server's root path (option 17) "10.77.0.1:/srv\n/tree" has control characters`) {
			t.Errorf("root path %q, said %q", l.RootPath, n.said)
		}
	})
}
