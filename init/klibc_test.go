package main

import (
	"net/netip"
	"testing"

	"github.com/sidusboot/sidusboot/network"
)

func TestKlibcConf6(t *testing.T) {
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
	if got := klibcConf6(l); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
