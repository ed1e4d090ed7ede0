package identity

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/network"
)

// The file is read by shells (. /run/net-eth0.conf): what a server sends must
// not leave its quotes.
func TestKlibc(t *testing.T) {
	l := &network.Lease{
		Device: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Proto: "dhcp",
		Addr:   netip.MustParsePrefix("10.77.0.11/24"),
		Routes: []network.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.77.0.1")}},
		DNS:    []netip.Addr{netip.MustParseAddr("10.77.0.2")}, Domain: "sidus.test", Search: []string{"a.test", "b.test"},
		Hostname: "no'de!$(x)", RootPath: "/srv/tree", ServerID: netip.MustParseAddr("10.77.0.1"), Time: time.Hour,
	}
	want := `DEVICE='eth0'
PROTO='dhcp'
IPV4ADDR='10.77.0.11'
IPV4BROADCAST='10.77.0.255'
IPV4NETMASK='255.255.255.0'
IPV4GATEWAY='10.77.0.1'
IPV4ROUTE0SUBNET='0.0.0.0/0'
IPV4ROUTE0GATEWAY='10.77.0.1'
IPV4DNS0='10.77.0.2'
IPV4DNS1='0.0.0.0'
HOSTNAME='no'\''de'\!'$(x)'
DNSDOMAIN='sidus.test'
NISDOMAIN=''
ROOTSERVER='10.77.0.1'
ROOTPATH='/srv/tree'
filename=''
UPTIME='7'
DHCPLEASETIME='3600'
DOMAINSEARCH='a.test b.test'
`
	if path, got := Klibc(l, 7*time.Second); got != want || path != "/run/net-eth0.conf" {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestKlibc6(t *testing.T) {
	l := &network.Lease{
		Device: "eth0", Proto: "auto6", Addr: netip.MustParsePrefix("fd77::7/64"),
		Routes: []network.Route{{Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fe80::1")}},
		DNS:    []netip.Addr{netip.MustParseAddr("fd77::53")}, Search: []string{"a.test", "b'c.test"},
	}
	const want = `DEVICE6='eth0'
IPV6PROTO='auto6'
IPV6ADDR='fd77::7'
IPV6NETMASK='64'
IPV6GATEWAY='fe80::1'
IPV6DNS0='fd77::53'
IPV6DOMAINSEARCH='a.test b'\''c.test'
`
	if path, got := Klibc(l, 0); got != want || path != "/run/net6-eth0.conf" {
		t.Errorf("%s: got\n%swant\n%s", path, got, want)
	}
}
