package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network/networktest"
	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// inNamespace runs a test in a process with a network of its own, in which is a link
// eth0, whose other end is peer.
func inNamespace(t *testing.T, test func(eth0, peer *rtnetlink.Link)) {
	t.Helper()
	networktest.Isolated(t, func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}); err != nil {
			t.Fatalf("veth: %v", err)
		}
		test(mustLink(t, "eth0"), mustLink(t, "peer"))
	})
}

func mustLink(t *testing.T, name string) *rtnetlink.Link {
	t.Helper()
	l, err := rtnetlink.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestApply(t *testing.T) {
	inNamespace(t, func(link, peer *rtnetlink.Link) {
		for _, l := range []*rtnetlink.Link{link, peer} {
			if err := rtnetlink.SetUp(l); err != nil {
				t.Fatal(err)
			}
		}
		route := func(dst, gw string) Route {
			r := Route{Dst: netip.MustParsePrefix(dst)}
			if gw != "" {
				r.Gateway = netip.MustParseAddr(gw)
			}
			return r
		}
		tests := []struct {
			name   string
			addr   string
			routes []Route
			mtu    int
			want   string
		}{
			{"gateway", "10.77.0.11/24", []Route{route("0.0.0.0/0", "10.77.0.1")}, 1400,
				"10.77.0.11/24, default by 10.77.0.1"},
			{"the same again", "10.77.0.11/24", []Route{route("0.0.0.0/0", "10.77.0.1")}, 1400,
				"10.77.0.11/24, default by 10.77.0.1"},
			{"another lease: the old one's address and route go", "10.78.0.9/16", []Route{route("10.99.0.0/16", "10.78.0.1")}, 1500,
				"10.78.0.9/16, 10.99.0.0/16 by 10.78.0.1"},
			{"same address, no route", "10.78.0.9/16", nil, 0, "10.78.0.9/16"},
			{"host mask and a gateway beside it", "10.79.0.5/32", []Route{route("0.0.0.0/0", "10.1.1.1")}, 0,
				"10.79.0.5/32, default by 10.1.1.1"},
			{"on the link, then by way of it (RFC 3442)", "10.79.0.5/32", []Route{route("10.2.2.2/32", ""), route("0.0.0.0/0", "10.2.2.2")}, 0,
				"10.79.0.5/32, 10.2.2.2/32, default by 10.2.2.2"},
			{"a route and an MTU that cannot be", "10.79.0.5/32", []Route{route("10.3.0.0/16", "224.0.0.1"), route("0.0.0.0/0", "10.2.2.2")}, 0,
				"10.79.0.5/32, default by 10.2.2.2"},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				lease := &Lease{Device: "eth0", Addr: netip.MustParsePrefix(tt.addr), Routes: tt.routes, MTU: tt.mtu}
				if err := apply(mustLink(t, "eth0"), lease, t.Logf); err != nil {
					t.Errorf("%s: %v", tt.name, err)
					return
				}
				if got := state(t, link); got != tt.want {
					t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
				}
				if got := mustLink(t, "eth0").MTU; tt.mtu > 0 && got != tt.mtu {
					t.Errorf("%s: MTU %d, want %d", tt.name, got, tt.mtu)
				}
			})
		}
	})
}

// The kernel adds no broadcast address of its own.
func TestApplyBroadcast(t *testing.T) {
	inNamespace(t, func(link, _ *rtnetlink.Link) {
		for _, tt := range []struct{ name, addr, broadcast, want string }{
			{"usual", "10.77.0.11/24", "", "10.77.0.255"},
			{"given", "10.78.0.11/24", "10.78.0.200", "10.78.0.200"},
			{"none on a line between two", "10.79.0.10/31", "", "invalid IP"},
			{"none of a host", "10.80.0.1/32", "", "invalid IP"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				lease := &Lease{Device: "eth0", Addr: netip.MustParsePrefix(tt.addr)}
				if tt.broadcast != "" {
					lease.Broadcast = netip.MustParseAddr(tt.broadcast)
				}
				if err := apply(link, lease, t.Logf); err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				all, err := addresses(link, unix.AF_INET)
				if err != nil || len(all) != 1 || all[0].Broadcast.String() != tt.want {
					t.Errorf("%s: %v, %v, want %s", tt.name, all, err, tt.want)
				}
			})
		}
	})
}

// A NIC that cannot have the lease's MTU keeps its own, and the node boots.
func TestApplyMTU(t *testing.T) {
	inNamespace(t, func(link, _ *rtnetlink.Link) {
		const tooLarge = 1 << 20
		said := ""
		lease := &Lease{Device: "eth0", Addr: netip.MustParsePrefix("10.77.0.11/24"), MTU: tooLarge}
		err := apply(link, lease, func(format string, args ...any) { said += fmt.Sprintf(format, args...) })
		if err != nil || !strings.Contains(said, "cannot be set to 1048576") || !strings.Contains(state(t, link), "10.77.0.11/24") {
			t.Errorf("Apply = %v, said %q, state %q", err, said, state(t, link))
		}
	})
}

// state is the link's IPv4 addresses and the routes that are not the kernel's,
// as another library sees them.
func state(t *testing.T, l *rtnetlink.Link) string {
	t.Helper()
	link, err := netlink.LinkByName(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range addrs {
		all = append(all, a.IPNet.String())
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	var ways []string
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_BOOT {
			continue
		}
		text := r.Dst.String()
		if ones, _ := r.Dst.Mask.Size(); ones == 0 {
			text = "default"
		}
		if r.Gw != nil {
			text += " by " + r.Gw.String()
		}
		ways = append(ways, text)
	}
	slices.Sort(ways)
	return strings.Join(append(all, ways...), ", ")
}

// A link whose other end is down has no carrier; it is waited for, and the
// link is not set down and up again.
func TestBringUp(t *testing.T) {
	inNamespace(t, func(link, peer *rtnetlink.Link) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		var down *NoCarrierError
		if err := bringUp(ctx, link); !errors.As(err, &down) || down.Device != "eth0" {
			t.Fatalf("BringUp without carrier = %v, want a NoCarrierError", err)
		}
		if err := rtnetlink.SetUp(peer); err != nil {
			t.Fatal(err)
		}
		if err := bringUp(t.Context(), mustLink(t, "eth0")); err != nil {
			t.Fatalf("BringUp with carrier = %v", err)
		}
		if ok, err := hasCarrier(link); !ok || err != nil {
			t.Errorf("HasCarrier = %v, %v", ok, err)
		}
	})
}
