package rtnetlink

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network/networktest"
)

// TestLinks compares what is seen of devices of many kinds with what the
// library sees whose place this package takes.
func TestLinks(t *testing.T) {
	networktest.Isolated(t, func() {
		attrs := func(name string) netlink.LinkAttrs {
			a := netlink.NewLinkAttrs()
			a.Name = name
			return a
		}
		add := func(l netlink.Link) {
			t.Helper()
			// Not every kernel has VLANs.
			if err := netlink.LinkAdd(l); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
				t.Fatal(err)
			}
		}
		add(&netlink.Veth{LinkAttrs: attrs("eth0"), PeerName: "peer"})
		eth0, err := ByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		vlan := attrs("eth0.5")
		vlan.ParentIndex = eth0.Index
		add(&netlink.Vlan{LinkAttrs: vlan, VlanId: 5})
		add(&netlink.Bridge{LinkAttrs: attrs("br0")})
		bridge, err := ByName("br0")
		if err != nil {
			t.Fatal(err)
		}
		if err := SetUp(eth0); err != nil {
			t.Fatal(err)
		}
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
		peer, err := ByName("peer")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(SetMTU(eth0, 1400), SetHardwareAddr(peer, mac), SetName(peer, "other"), SetUp(peer), SetDown(peer)); err != nil {
			t.Fatal(err)
		}
		other, err := netlink.LinkByName("other")
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetMasterByIndex(other, bridge.Index); err != nil {
			t.Fatal(err)
		}
		all, err := Links()
		if err != nil {
			t.Fatal(err)
		}
		want, err := netlink.LinkList()
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != len(want) {
			t.Fatalf("%d devices, want %d", len(all), len(want))
		}
		for i, l := range all {
			a := want[i].Attrs()
			kind := l.Kind
			if kind == "" {
				kind = "device"
			}
			if l.Index != a.Index || l.Name != a.Name || l.MTU != a.MTU || l.Flags != a.RawFlags || int(l.OperState) != int(a.OperState) ||
				!slices.Equal(l.HardwareAddr, a.HardwareAddr) || !slices.Equal(l.PermHWAddr, a.PermHWAddr) ||
				l.ParentIndex != a.ParentIndex || l.MasterIndex != a.MasterIndex || kind != want[i].Type() {
				t.Errorf("got %+v, want %+v of type %s", l, a, want[i].Type())
			}
			if l.IsUp() != (a.Flags&net.FlagUp != 0) || l.IsLoopback() != (a.EncapType == "loopback") || (l.Type == unix.ARPHRD_ETHER) != (a.EncapType == "ether") {
				t.Errorf("%s: flags %#x, type %d, want %v, %s", l.Name, l.Flags, l.Type, a.Flags, a.EncapType)
			}
			again, err := ByIndex(l.Index)
			if err != nil || again.Name != l.Name {
				t.Errorf("by index %d: %+v, %v", l.Index, again, err)
			}
		}
		if eth0, err = ByName("eth0"); err != nil || eth0.MTU != 1400 || !eth0.IsUp() {
			t.Errorf("%+v, %v", eth0, err)
		}
		if l, err := ByName("other"); err != nil || l.HardwareAddr.String() != mac.String() || l.IsUp() || l.MasterIndex != bridge.Index {
			t.Errorf("%+v, %v", l, err)
		}
		if _, err := ByName("none"); !errors.Is(err, unix.ENODEV) {
			t.Errorf("got %v, want ENODEV", err)
		}
		if _, err := ByIndex(4711); !errors.Is(err, unix.ENODEV) {
			t.Errorf("got %v, want ENODEV", err)
		}
	})
}

func TestAddresses(t *testing.T) {
	networktest.Isolated(t, func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}); err != nil {
			t.Fatal(err)
		}
		eth0, err := ByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []Address{
			{Prefix: netip.MustParsePrefix("10.77.0.11/24")},
			{Prefix: netip.MustParsePrefix("10.78.0.11/24"), Broadcast: netip.MustParseAddr("10.78.0.200")},
			{Prefix: netip.MustParsePrefix("10.79.0.1/32")},
			{Prefix: netip.MustParsePrefix("10.80.0.0/31")},
			{Prefix: netip.MustParsePrefix("fd77::1/64"), Flags: unix.IFA_F_NOPREFIXROUTE},
		} {
			// Twice is no error.
			if err := errors.Join(ReplaceAddress(eth0, a), ReplaceAddress(eth0, a)); err != nil {
				t.Fatalf("%+v: %v", a, err)
			}
		}
		text := func(family int) string {
			t.Helper()
			all, err := Addresses(eth0, family)
			if err != nil {
				t.Fatal(err)
			}
			s := ""
			for _, a := range all {
				s += a.Prefix.String()
				if a.Broadcast.IsValid() {
					s += " " + a.Broadcast.String()
				}
				if a.Flags&unix.IFA_F_NOPREFIXROUTE != 0 {
					s += " noprefixroute"
				}
				s += "; "
			}
			return s
		}
		if got, want := text(unix.AF_INET), "10.77.0.11/24; 10.78.0.11/24 10.78.0.200; 10.79.0.1/32; 10.80.0.0/31; "; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := text(unix.AF_INET6), "fd77::1/64 noprefixroute; "; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := DeleteAddress(eth0, Address{Prefix: netip.MustParsePrefix("10.78.0.11/24")}); err != nil {
			t.Error(err)
		}
		if got, want := text(unix.AF_INET), "10.77.0.11/24; 10.79.0.1/32; 10.80.0.0/31; "; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// FuzzParseLink: whatever a message has in it, nothing panics.
func FuzzParseLink(f *testing.F) {
	f.Add(make([]byte, unix.SizeofIfInfomsg))
	f.Add(append(make([]byte, unix.SizeofIfInfomsg), 8, 0, 3, 0, 'l', 'o', 0, 0))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseLink(b) })
}
