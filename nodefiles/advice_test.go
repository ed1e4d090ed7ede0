package nodefiles

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/sidusboot/sidusboot/network"
)

// A VLAN on a bond of two cards, a second lease on the VLAN, another NIC with
// a lease, and InfiniBand.
func TestAdvice(t *testing.T) {
	sysfs := t.TempDir()
	for i, device := range []string{"eth0", "eth1", "eth2", "bond0", "bond0.5"} {
		write(t, filepath.Join(sysfs, "class/net", device, "ifindex"), strconv.Itoa(i+2)+"\n")
	}
	for _, pair := range []string{"bond0/lower_eth0", "bond0/lower_eth1", "bond0.5/lower_bond0"} {
		mustLink(t, "../x", filepath.Join(sysfs, "class/net", pair))
	}
	lease := func(device, addr, dns string) *network.Lease {
		return &network.Lease{
			Device: device, Addr: netip.MustParsePrefix(addr), DNS: []netip.Addr{netip.MustParseAddr(dns)}, Domain: "a.test",
			Routes: []network.Route{{Dst: netip.MustParsePrefix("10.9.0.0/16")}},
		}
	}
	n := &Node{Leases: []*network.Lease{lease("bond0.5", "10.0.0.7/24", "10.0.0.1"), lease("eth2", "10.1.0.7/24", "10.1.0.1"), lease("bond0.5", "fd00::7/64", "fd00::1")}}
	n.Untouched = []string{"ib0"}
	got, err := n.advice(sysfs)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"bond0.5", "eth2", "bond0", "eth0", "eth1", "ib0"}; !slices.Equal(got.Devices(), want) {
		t.Errorf("devices %q, want %q", got.Devices(), want)
	}
	vlan, other := got.NICs[0], got.NICs[1]
	if !vlan.Virtual || other.Virtual || vlan.Index != 6 || other.Index != 4 || len(vlan.Addrs) != 2 || len(vlan.DNS) != 2 || len(vlan.Routes) != 2 || len(other.Addrs) != 1 {
		t.Errorf("advice %+v", got)
	}
	n.Leases = []*network.Lease{lease("none", "10.1.0.7/24", "10.1.0.1")}
	if _, err := n.advice(sysfs); err == nil {
		t.Error("a device that is gone: no error")
	}
}
