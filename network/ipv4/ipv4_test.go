package ipv4

import (
	"net/netip"
	"testing"
)

func TestClassBits(t *testing.T) {
	for addr, want := range map[string]int{
		"10.1.2.3": 8, "127.255.255.255": 8, "128.0.0.1": 16, "172.16.0.9": 16, "192.0.2.1": 24, "223.255.255.1": 24, "224.0.0.1": 0, "250.1.2.3": 0,
	} {
		t.Run(addr, func(t *testing.T) {
			if got, ok := ClassBits(netip.MustParseAddr(addr)); got != want || ok != (want > 0) {
				t.Errorf("ClassBits(%s) = %d, %v, want %d", addr, got, ok, want)
			}
		})
	}
}

func TestBroadcast(t *testing.T) {
	for network, want := range map[string]string{
		"10.77.0.11/24": "10.77.0.255", "10.77.0.11/0": "255.255.255.255", "10.77.0.11/32": "10.77.0.11", "10.77.0.10/31": "10.77.0.11", "192.168.255.1/15": "192.169.255.255",
	} {
		t.Run(network, func(t *testing.T) {
			if got := Broadcast(netip.MustParsePrefix(network)); got.String() != want {
				t.Errorf("Broadcast(%s) = %s, want %s", network, got, want)
			}
		})
	}
}
