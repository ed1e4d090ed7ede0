package network_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/networktest"
)

// advertise is a router advertisement with one prefix and one name server.
func advertise(prefix, dns string) []byte {
	b := []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	p, d := netip.MustParseAddr(prefix).As16(), netip.MustParseAddr(dns).As16()
	b = append(b, 3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	b = append(b, p[:]...)
	b = append(b, 25, 3, 0, 0, 0, 0, 7, 8)
	return append(b, d[:]...)
}

// sendICMP6 sends messages to all nodes on the switch, from an address of the
// bridge, ten times a second after a delay.
func sendICMP6(t *testing.T, h *networktest.Host, delay time.Duration, hops int, from netip.Addr, messages ...[]byte) {
	t.Helper()
	fd := -1
	err := h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6); err != nil {
			return err
		}
		bridge, err := net.InterfaceByName("br0")
		if err != nil {
			return err
		}
		source := &unix.SockaddrInet6{Addr: from.As16()}
		if from.IsLinkLocalUnicast() {
			source.ZoneId = uint32(bridge.Index)
		}
		for option, value := range map[int]int{unix.IPV6_MULTICAST_HOPS: hops, unix.IPV6_MULTICAST_IF: bridge.Index} {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, value); err != nil {
				return err
			}
		}
		return unix.Bind(fd, source)
	})
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		wait := time.After(delay)
		all := &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::1").As16()}
		for {
			select {
			case <-stop:
				return
			case <-wait:
				wait = time.After(100 * time.Millisecond)
			}
			for _, m := range messages {
				if err := unix.Sendto(fd, m, 0, all); err != nil {
					t.Errorf("send: %v", err)
				}
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		unix.Close(fd)
	})
}

// A router advertisement is accepted only from a neighbour, and only whole
// (RFC 4861, section 6.1.2).
func TestForgedAdvertisement(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		local := netip.Addr{}
		for start := time.Now(); !local.IsValid(); time.Sleep(100 * time.Millisecond) {
			text := n.Server.Run("ip -6 -o addr show dev br0 scope link -tentative | awk '{ sub(\"/.*\", \"\", $4); print $4 }'")
			local, _ = netip.ParseAddr(text)
			if time.Since(start) > 10*time.Second {
				t.Fatalf("the bridge has no address of the link: %q", text)
			}
		}
		forged := advertise("fd66::", "fd66::66")
		// From beyond a router.
		sendICMP6(t, n.Server, 0, 64, local, forged)
		sendICMP6(t, n.Server, 0, 254, local, forged)
		// Another code, an option of no length, one that is cut off.
		code, empty := advertise("fd66::", "fd66::66"), advertise("fd66::", "fd66::66")
		code[1] = 1
		empty[17] = 0
		sendICMP6(t, n.Server, 0, 255, local, code, empty, forged[:len(forged)-8], append(advertise("fd66::", "fd66::66"), 1, 2), forged[:12])
		// Not from the link.
		sendICMP6(t, n.Server, 0, 255, netip.MustParseAddr(networktest.ServerAddr6), forged)
		// The true router speaks when the forgers have.
		sendICMP6(t, n.Server, 3*time.Second, 255, local, advertise("fd77::", "fd77::53"))
		l, _, err := n.up(network.Plan{Interfaces: []network.Interface{{Method: network.MethodRouter}}}, network.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(l.DNS) != 1 || l.DNS[0].String() != "fd77::53" || l.Addr.String() != "fd77::5054:ff:fe77:1/64" {
			t.Errorf("lease %+v", l)
		}
	})
}
