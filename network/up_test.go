package network_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/networktest"
)

// A node is what runs network.Up in a test.
type node struct {
	*networktest.Net
	t    *testing.T
	mu   sync.Mutex
	said []string
	// awaited are actions by the text that they wait for.
	awaited map[string]func()
	// port of the server that is to be reached.
	port uint16
}

const nfsPort = 2049

// isolated runs a test in a process of its own, beside others, with a node that
// has no NIC yet.
func isolated(t *testing.T, test func(n *node)) {
	t.Helper()
	t.Parallel()
	networktest.Isolated(t, func() { test(&node{Net: networktest.New(t), t: t, port: nfsPort}) })
}

func (n *node) logf(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	n.said = append(n.said, text)
	for awaited, action := range n.awaited {
		if strings.Contains(text, awaited) {
			delete(n.awaited, awaited)
			go action()
		}
	}
	n.t.Logf(format, args...)
}

// when does something in the background as soon as the node says a text, once.
func (n *node) when(text string, action func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.awaited == nil {
		n.awaited = make(map[string]func())
	}
	n.awaited[text] = action
}

// says tells whether the node has said a text.
func (n *node) says(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.said, func(s string) bool { return strings.Contains(s, text) })
}

// up carries a plan out; o has the times, and whatever is not usual.
func (n *node) up(p network.Plan, o network.Options) (*network.Lease, []*network.Lease, error) {
	n.t.Helper()
	o.Sysfs = "/sys"
	if o.Preferred == "" {
		o.Preferred = "eth0"
	}
	if o.CarrierTime == 0 {
		o.CarrierTime = 20 * time.Second
	}
	if o.LeaseTime == 0 {
		o.LeaseTime = 30 * time.Second
	}
	if o.Rescan == nil {
		o.Rescan = func() {}
	}
	o.Logf = n.logf
	o.WaitFor = func(what string) { n.logf("waiting for %s", what) }
	if o.Reach == nil {
		o.Reach = n.reach
	}
	if p.Interfaces == nil {
		p.Interfaces = []network.Interface{{}}
	}
	return network.Up(n.t.Context(), p, o)
}

// reach dials the server as the NFS stage would.
func (n *node) reach(ctx context.Context, l *network.Lease) error {
	server := netip.MustParseAddr(networktest.ServerAddr)
	if l.Addr.Addr().Is6() {
		server = netip.MustParseAddr(networktest.ServerAddr6)
	}
	if !l.NextHop(server).IsValid() {
		return errors.New("no route")
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), l.Device) }), err)
	}}
	c, err := d.DialTCP(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(server, n.port))
	if err != nil {
		return err
	}
	return c.Close()
}

// must is up that has to get a lease on a device.
func (n *node) must(device, addr string, p network.Plan, o network.Options) *network.Lease {
	n.t.Helper()
	l, _, err := n.up(p, o)
	if err != nil {
		n.t.Fatal(err)
	}
	if l.Device != device || addr != "" && l.Addr.String() != addr {
		n.t.Fatalf("lease %s on %s, want %s on %s", l.Addr, l.Device, addr, device)
	}
	if out := n.Run("ip -o addr show dev " + device); !strings.Contains(out, l.Addr.String()) {
		n.t.Errorf("%s has no address %s: %s", device, l.Addr, out)
	}
	return l
}

// isDown checks that a device was put down again, without address.
func (n *node) isDown(device string) {
	n.t.Helper()
	l, err := netlink.LinkByName(device)
	if err != nil {
		n.t.Fatal(err)
	}
	if out := n.Run("ip -4 -o addr show dev " + device); out != "" || l.Attrs().Flags&net.FlagUp != 0 {
		n.t.Errorf("%s is up or has an address: %s", device, out)
	}
}

const pool = "--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h"

func TestUpOneNIC(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:01,10.77.0.11,node11")
		start := time.Now()
		l := n.must("eth0", "10.77.0.11/24", network.Plan{}, network.Options{})
		if l.Hostname != "node11" || l.Gateway().String() != networktest.ServerAddr || l.T1 <= 0 {
			t.Errorf("lease %+v", l)
		}
		// The link is there at once, and so must be the lease: an ARP probe of a
		// third of a second is the longest wait. It is bounded widely, for a busy
		// machine.
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Two NICs, and DHCP behind the second only.
func TestUpSecondNIC(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Elsewhere: true})
		n.Plug("eth1", networktest.Cable{})
		n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:02,10.77.0.12")
		n.Server.Listen("tcp", nfsPort)
		n.must("eth1", "10.77.0.12/24", network.Plan{}, network.Options{})
		n.isDown("eth0")
		if !n.says("no address on eth0 so far: trying eth1 as well") {
			t.Errorf("said %q", n.said)
		}
	})
}

// Three NICs, all with DHCP, and BOOTIF for the third. The others are left
// alone.
func TestUpBootIF(t *testing.T) {
	isolated(t, func(n *node) {
		for i := range 3 {
			n.Plug(fmt.Sprintf("eth%d", i), networktest.Cable{})
		}
		n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:03,10.77.0.13")
		n.must("eth2", "10.77.0.13/24", network.Plan{}, network.Options{BootMAC: mac(3)})
		n.isDown("eth0")
		n.isDown("eth1")
	})
}

// mac is that of the cable of some number.
func mac(n byte) net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0, 0x77, 0, n} }

// eth0 without a carrier: another one is taken after a moment.
func TestUpNoCarrier(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Loose: true})
		n.Plug("eth1", networktest.Cable{})
		n.Server.DNSMasq(pool)
		n.must("eth1", "", network.Plan{}, network.Options{})
		n.isDown("eth0")
	})
}

// There is no eth0 at all.
func TestUpNoEth0(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("enp3s0", networktest.Cable{})
		n.Server.DNSMasq(pool)
		n.must("enp3s0", "", network.Plan{}, network.Options{})
	})
}

// A carrier that comes when other cards than eth0 are looked for already.
func TestUpLateCarrier(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Loose: true})
		n.Server.DNSMasq(pool)
		rescans := 0
		n.must("eth0", "", network.Plan{}, network.Options{CarrierTime: time.Minute, Rescan: func() {
			if rescans++; rescans == 3 {
				n.Server.Run("ip link set p-eth0 up")
			}
		}})
		if rescans < 3 {
			t.Errorf("drivers were looked for %d times before eth0 had a lease", rescans)
		}
	})
}

// A switch port that forwards nothing for twice 15 s, as spanning tree has it.
func TestUpSpanningTree(t *testing.T) {
	isolated(t, func(n *node) {
		n.Server.Run("ip link set br0 type bridge stp_state 1 forward_delay 1500")
		n.Plug("eth0", networktest.Cable{})
		server := n.Server.DNSMasq(pool)
		start := time.Now()
		n.must("eth0", "", network.Plan{}, network.Options{LeaseTime: 90 * time.Second})
		if took := time.Since(start); took < 25*time.Second {
			t.Errorf("it took only %v: the port did not block", took)
		}
		// A link that flaps begins the spanning tree anew.
		if changes := n.Run("cat /sys/class/net/eth0/carrier_changes"); changes != "2" {
			t.Errorf("the carrier of eth0 changed %s times, want 2: down when made, up", changes)
		}
		if strings.Contains(server.Log(), "DHCPDECLINE") {
			t.Error("the address was declined")
		}
	})
}

// A server that answers the fifth request only.
func TestUpFifthRequest(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		server := n.Server.FakeDHCP("br0", func(count int, m *dhcpv4.DHCPv4) [][]byte {
			if count < 5 {
				return nil
			}
			return [][]byte{networktest.Reply(m, "10.77.0.50")}
		})
		n.must("eth0", "10.77.0.50/24", network.Plan{}, network.Options{LeaseTime: 90 * time.Second})
		if kinds := fmt.Sprint(server.Kinds()); kinds != "[DISCOVER DISCOVER DISCOVER DISCOVER DISCOVER REQUEST]" {
			t.Errorf("it was asked %s", kinds)
		}
	})
}

// A server that takes its offer back once, and says why.
func TestUpNAK(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.FakeDHCP("br0", func(count int, m *dhcpv4.DHCPv4) [][]byte {
			if count == 2 {
				return [][]byte{networktest.Reply(m, "0.0.0.0", dhcpv4.WithMessageType(dhcpv4.MessageTypeNak),
					dhcpv4.WithOption(dhcpv4.OptMessage("not today")))}
			}
			return [][]byte{networktest.Reply(m, "10.77.0.50")}
		})
		n.must("eth0", "10.77.0.50/24", network.Plan{}, network.Options{})
		if !n.says(`the DHCP server 10.77.0.1 refuses the address that it offered (NAK): "not today"`) {
			t.Errorf("said %q", n.said)
		}
	})
}

// Two servers, and only the slower one knows the root path.
func TestUpRootPath(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.DNSMasq("--dhcp-range=10.77.0.100,10.77.0.149,255.255.255.0,1h")
		other := n.Host("other", "10.77.0.2/24")
		other.DNSMasq("--dhcp-range=10.77.0.150,10.77.0.199,255.255.255.0,1h", "--dhcp-option=17,10.77.0.2:/srv/tree", "--dhcp-reply-delay=1")
		l := n.must("eth0", "", network.Plan{}, network.Options{PreferRoot: true})
		if l.RootPath != "10.77.0.2:/srv/tree" || l.ServerID.String() != "10.77.0.2" {
			t.Errorf("root path %q from %s", l.RootPath, l.ServerID)
		}
	})
}

// Somebody has the address that the server offers: it is declined, and the
// next one taken.
func TestUpAddressTaken(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Host("squatter", "10.77.0.50/24")
		server := n.Server.DNSMasq("--dhcp-range=10.77.0.50,10.77.0.51,255.255.255.0,1h", "--dhcp-sequential-ip")
		n.must("eth0", "10.77.0.51/24", network.Plan{}, network.Options{})
		if !strings.Contains(server.Log(), "DHCPDECLINE(br0) 10.77.0.50") || !n.says("the address 10.77.0.50 is in use by ") {
			t.Errorf("said %q", n.said)
		}
		// The same by hand is an error.
		way := network.Interface{Selector: network.Selector{Device: "eth0"}, Method: network.MethodStatic, Static: network.Lease{Addr: netip.MustParsePrefix("10.77.0.50/24")}}
		_, _, err := n.up(network.Plan{Interfaces: []network.Interface{way}}, network.Options{})
		var used *network.InUseError
		if !errors.As(err, &used) || used.Addr.String() != "10.77.0.50" || used.Owner == nil {
			t.Errorf("a static address that is taken: %v", err)
		}
		if _, _, err := n.up(network.Plan{Interfaces: []network.Interface{way}}, network.Options{SkipProbe: true}); err != nil {
			t.Errorf("the same without a look: %v", err)
		}
	})
}

// Jumbo frames, and routes by option 121 without any router in option 3.
func TestUpMTUAndRoutes(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		n.Server.Run("ip link set p-eth0 mtu 9000; ip link set br0 mtu 9000")
		n.Server.DNSMasq(pool, "--dhcp-option=option:mtu,9000", "--dhcp-option=option:router",
			"--dhcp-option=121,10.88.0.0/16,10.77.0.9,0.0.0.0/0,10.77.0.7")
		l := n.must("eth0", "", network.Plan{}, network.Options{})
		if l.MTU != 9000 || n.Run("cat /sys/class/net/eth0/mtu") != "9000" {
			t.Errorf("MTU %d", l.MTU)
		}
		want := "10.88.0.0/16 via 10.77.0.9, default via 10.77.0.7"
		if got := n.Run(`ip -4 route show dev eth0 | awk '/via/ { print $1, $2, $3 }' | sort | paste -s -d , | sed 's/,/, /g'`); got != want {
			t.Errorf("routes %q, want %q", got, want)
		}
	})
}

// Both NICs get a lease, and only behind one of them the server answers. Where
// eth0 has had its chance in an attempt before, both are tried at once.
func TestUpReachesServer(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Elsewhere: true})
		n.Plug("eth1", networktest.Cable{})
		n.Server.Run("ip link add br1 type bridge forward_delay 0; ip addr add 10.78.0.1/24 dev br1; ip link set br1 up; ip link set p-eth0 master br1")
		n.Server.DNSMasq(pool, "--dhcp-range=10.78.0.100,10.78.0.199,255.255.255.0,1h")
		var tried []string
		reach := func(ctx context.Context, l *network.Lease) error {
			tried = append(tried, l.Device)
			if strings.HasPrefix(l.Addr.String(), "10.78.") {
				return errors.New("no answer")
			}
			return nil
		}
		p := network.Plan{Interfaces: []network.Interface{{Selector: network.Selector{Device: "eth0"}}, {Selector: network.Selector{Device: "eth1"}}}}
		l, others, err := n.up(p, network.Options{Reach: reach})
		if err != nil || l.Device != "eth1" || len(others) != 1 || others[0].Device != "eth0" {
			t.Fatalf("%+v, %v, %v, want eth1, and eth0 beside it", l, others, err)
		}
		// Who was asked for keeps its address, but the way out is the boot NIC's.
		if out := n.Run("ip -4 route show default | head -n 1"); !strings.Contains(out, "dev eth1") {
			t.Errorf("the first default route is %q", out)
		}
		if out := n.Run("ip -4 -o addr show dev eth0"); !strings.Contains(out, "10.78.0.") {
			t.Errorf("eth0 has %q", out)
		}
		tried = nil
		l, _, err = n.up(network.Plan{Interfaces: []network.Interface{{}}}, network.Options{Reach: reach, TryAll: true})
		if err != nil || l.Device != "eth1" || !slices.Contains(tried, "eth1") {
			t.Fatalf("%+v, %v, tried %v, want eth1", l, err, tried)
		}
		// Nobody answers: the first lease with a root path, or the first, after a
		// while. That the server is down is the next stage's to wait for.
		l, _, err = n.up(p, network.Options{Reach: func(context.Context, *network.Lease) error { return errors.New("no answer") }})
		if err != nil || !n.says("the server does not answer over any lease") {
			t.Fatalf("%+v, %v", l, err)
		}
	})
}

// Nothing works: the error has a table of what was tried.
func TestUpTable(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Loose: true})
		n.Plug("eth1", networktest.Cable{})
		_, _, err := n.up(network.Plan{}, network.Options{CarrierTime: 8 * time.Second, LeaseTime: 4 * time.Second})
		var failed *network.NoAddressError
		var carrier *network.NoCarrierError
		var lease *network.NoLeaseError
		if !errors.As(err, &failed) || !errors.As(err, &carrier) || !errors.As(err, &lease) || carrier.Device != "eth0" || lease.Device != "eth1" {
			t.Fatalf("%v", err)
		}
		table := strings.Join(failed.Table(), "\n")
		for _, want := range []string{
			"eth0     52:54:00:77:00:01 driver veth?", "link no carrier, no carrier in 8s",
			"eth1     52:54:00:77:00:02 driver veth?", "link up, no answer from DHCP in 4s",
		} {
			if !strings.Contains(table, strings.ReplaceAll(want, " driver veth?", "")) {
				t.Errorf("the table has no %q:\n%s", want, table)
			}
		}
		if !strings.Contains(err.Error(), "none of 2 NICs has an address") {
			t.Errorf("%v", err)
		}
		_, _, err = n.up(network.Plan{Interfaces: []network.Interface{{Selector: network.Selector{Device: "eth7"}}}}, network.Options{CarrierTime: time.Second})
		var none *network.NoDeviceError
		if !errors.As(err, &none) || !strings.Contains(err.Error(), "there is no NIC eth7, only [eth0 eth1]") {
			t.Errorf("%v", err)
		}
	})
}

// ifname= gives a card a name that another one has.
func TestUpRename(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{Elsewhere: true})
		n.Plug("eth1", networktest.Cable{})
		n.Server.DNSMasq(pool, "--dhcp-host=52:54:00:77:00:02,10.77.0.12")
		mac, err := net.ParseMAC("52:54:00:77:00:02")
		if err != nil {
			t.Fatal(err)
		}
		p := network.Plan{Renames: []network.Rename{{Name: "eth0", MAC: mac}}, Interfaces: []network.Interface{{Selector: network.Selector{Device: "eth0"}}}}
		l := n.must("eth0", "10.77.0.12/24", p, network.Options{})
		if l.MAC.String() != mac.String() {
			t.Errorf("eth0 is %s", l.MAC)
		}
		if got := n.Run("cat /sys/class/net/eth1/address"); got != "52:54:00:77:00:01" {
			t.Errorf("eth1 is %s", got)
		}
	})
}

// A MAC of the node's own making, a client identifier and a host name for the
// server.
func TestUpIdentity(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		server := n.Server.FakeDHCP("br0", func(_ int, m *dhcpv4.DHCPv4) [][]byte {
			return [][]byte{networktest.Reply(m, "10.77.0.50")}
		})
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
		n.must("eth0", "", network.Plan{Interfaces: []network.Interface{{SetMAC: mac, ClientID: "\x00node:7", Hostname: "node7"}}}, network.Options{})
		for _, m := range server.Seen() {
			if m.ClientHWAddr.String() != mac.String() || m.HostName() != "node7" ||
				string(m.Options.Get(dhcpv4.OptionClientIdentifier)) != "\x00node:7" {
				t.Errorf("it says %s", m.Summary())
			}
		}
	})
}

// A hostile server: floods of answers to the right transaction that are cut
// short, garbled, absurd or not meant for us, then a proper one. Nothing hangs,
// and nothing but the proper one is taken.
func TestUpHostile(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		random := rand.New(rand.NewPCG(1, 2))
		server := n.Server.FakeDHCP("br0", func(count int, m *dhcpv4.DHCPv4) [][]byte {
			proper := networktest.Reply(m, "10.77.0.50")
			if count > 3 {
				return [][]byte{proper}
			}
			absurd := [][]byte{
				networktest.Reply(m, "0.0.0.0"), networktest.Reply(m, "255.255.255.255"), networktest.Reply(m, "127.0.0.1"),
				networktest.Reply(m, "224.0.0.1"), {}, proper[:100],
				networktest.Reply(m, "10.77.0.66", dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})),
				networktest.Reply(m, "10.77.0.66", dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 1})),
				networktest.Reply(m, "10.77.0.66", dhcpv4.WithGeneric(dhcpv4.OptionSubnetMask, []byte{255, 0, 255, 0})),
				networktest.Reply(m, "10.77.0.66", dhcpv4.WithMessageType(dhcpv4.MessageTypeNak)),
				networktest.Reply(m, "10.77.0.66", func(d *dhcpv4.DHCPv4) { d.Options.Del(dhcpv4.OptionServerIdentifier) }),
				networktest.Reply(m, "0.0.0.0", dhcpv4.WithGeneric(dhcpv4.OptionDNSDomainSearchList, []byte{0xc0, 0, 0xc0, 2, 63})),
			}
			for range 300 {
				garbled := slices.Clone(networktest.Reply(m, "0.0.0.0"))
				for range 1 + random.IntN(20) {
					garbled[240+random.IntN(len(garbled)-240)] = byte(random.Uint32())
				}
				absurd = append(absurd, garbled[:236+random.IntN(len(garbled)-236)])
			}
			return absurd
		})
		n.must("eth0", "10.77.0.50/24", network.Plan{}, network.Options{LeaseTime: 40 * time.Second})
		if len(server.Seen()) < 4 || count(n, "is ignored: ") == 0 || count(n, "is ignored: ") > 3 {
			t.Errorf("asked %v, said %q", server.Kinds(), n.said)
		}
	})
}
