package network_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/networktest"
)

// What a server can do to a lease.
const (
	gives int32 = iota
	silent
	refuses
	forgets // refuses to renew, and gives the same address anew
	moves   // would give another address
)

// TestKeep renews a lease of 4 s through everything that servers do. The server
// is a fake because dnsmasq knows no lease below 2 minutes.
func TestKeep(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		const addr = "10.77.0.50"
		var mood atomic.Int32
		server := n.Server.FakeDHCP("br0", func(_ int, m *dhcpv4.DHCPv4) [][]byte {
			lease := dhcpv4.WithLeaseTime(4)
			nak := [][]byte{networktest.Reply(m, "0.0.0.0", dhcpv4.WithMessageType(dhcpv4.MessageTypeNak))}
			renewal := !m.ClientIPAddr.IsUnspecified()
			switch mood.Load() {
			case silent:
				return nil
			case refuses:
				if m.MessageType() == dhcpv4.MessageTypeDiscover {
					return nil
				}
				return nak
			case forgets:
				if renewal {
					return nak
				}
			case moves:
				if renewal {
					return nak
				}
				return [][]byte{networktest.Reply(m, "10.77.0.66", lease)}
			}
			return [][]byte{networktest.Reply(m, addr, lease)}
		})
		l := n.must("eth0", addr+"/24", network.Plan{}, network.Options{})
		lease := l.State(index(t, "eth0"), "node50")
		var told atomic.Int32
		lease.OnRenewal = func() {
			if age := clock.Uptime() - lease.Since; age < 0 || age > time.Second {
				t.Errorf("renewed %v ago", age)
			}
			told.Add(1)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			lease.Renew(ctx, n.logf)
		}()
		until := func(what string, ok func() bool) {
			t.Helper()
			for range 1200 {
				if ok() {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
			t.Fatalf("no %s; said %q, asked %v", what, n.said, server.Kinds())
		}
		renewals := func() (unicast, all int) {
			for _, m := range server.Seen() {
				if m.MessageType() == dhcpv4.MessageTypeRequest && m.ClientIPAddr.Equal(net.ParseIP(addr)) {
					all++
					if m.HostName() == "node50" && m.ServerIdentifier() == nil {
						unicast++
					}
				}
			}
			return unicast, all
		}
		until("three renewals", func() bool { _, all := renewals(); return all >= 3 })
		if unicast, all := renewals(); unicast != all {
			t.Errorf("%d of %d renewals are as RFC 2131, table 5 has them", unicast, all)
		}
		if n.says("lease") {
			t.Errorf("renewals are no news: %q", n.said)
		}
		until("word of each renewal", func() bool { return told.Load() >= 3 })

		mood.Store(silent)
		until("word of silence", func() bool { return n.says("the lease of 10.77.0.50 on eth0 is not renewed: no answer from DHCP") })
		until("word of the end", func() bool { return n.says("THE LEASE OF 10.77.0.50 ON eth0 HAS EXPIRED") })
		if out := n.Run("ip -4 -o addr show dev eth0"); !contains(out, addr) {
			t.Fatalf("the address is gone: %q", out)
		}
		mood.Store(gives)
		again := func() func() bool {
			before := count(n, " was renewed")
			return func() bool { return count(n, " was renewed") > before }
		}
		until("recovery", again())

		mood.Store(refuses)
		until("word of the refusal", func() bool { return n.says("the DHCP server 10.77.0.1 refuses to renew the address (NAK)") })
		recovered := again()
		mood.Store(forgets)
		until("the same address anew", recovered)

		mood.Store(moves)
		until("word of another address", func() bool {
			return n.says("the DHCP server 10.77.0.1 would give this node 10.77.0.66 instead: reboot the node")
		})
		if out := n.Run("ip -4 -o addr show dev eth0"); !contains(out, addr) || contains(out, "10.77.0.66") {
			t.Errorf("eth0 has %q", out)
		}
		cancel()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("Keep goes on after its context has ended")
		}
	})
}

func count(n *node, text string) (c int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.said {
		if contains(s, text) {
			c++
		}
	}
	return c
}

// TestKeepRealServer renews with dnsmasq, at once instead of after a minute.
func TestKeepRealServer(t *testing.T) {
	isolated(t, func(n *node) {
		n.Plug("eth0", networktest.Cable{})
		server := n.Server.DNSMasq(pool)
		l := n.must("eth0", "", network.Plan{}, network.Options{})
		for _, age := range []time.Duration{l.T1, l.T2} {
			before := logged(server, "DHCPACK")
			lease := l.State(index(t, "eth0"), "")
			lease.Since -= age
			keepOnce(t, n, lease, func() bool { return logged(server, "DHCPACK") > before })
			if lease.Time != time.Hour {
				t.Errorf("at the age of %v: %+v", age, lease)
			}
		}
		if logged(server, "DHCPDISCOVER") != 1 || logged(server, "DHCPNAK") != 0 {
			t.Errorf("the server says\n%s", server.Log())
		}
	})
}

// A lease without an end needs nobody.
func TestEndlessLease(t *testing.T) {
	l := network.Lease{Addr: netip.MustParsePrefix("10.0.0.7/24")}
	if l.State(1, "") != nil {
		t.Error("a lease for ever has a lease")
	}
}

func index(t *testing.T, device string) int {
	t.Helper()
	link, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().Index
}

// keepOnce keeps a lease until done, which has to come of a renewal.
func keepOnce(t *testing.T, n *node, lease *network.LeaseState, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	renewed := false
	lease.OnRenewal = func() { renewed = true; cancel() }
	lease.Renew(ctx, n.logf)
	for range 1000 { // Until the server has written its log.
		if done() {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !renewed || !done() {
		t.Errorf("it is not renewed: %+v", lease)
	}
}
