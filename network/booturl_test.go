package network

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sidusboot/sidusboot/network/networktest"
)

// leased gives eth0 an address by hand, as after a lease.
func leased(t *testing.T, net *networktest.Net) *Lease {
	t.Helper()
	net.Plug("eth0", networktest.Cable{})
	net.Run("ip link set eth0 up && ip addr add 10.77.0.7/24 dev eth0")
	return &Lease{Device: "eth0", MAC: mac, Addr: netip.MustParsePrefix("10.77.0.7/24")}
}

// dnsmasq answers with the URL of nodes that boot by HTTP, and its leases stay as they
// are.
func TestBootURL(t *testing.T) {
	t.Parallel()
	networktest.Isolated(t, func() {
		net := networktest.New(t)
		server := net.Server.DNSMasq("--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h", "--log-dhcp",
			"--dhcp-vendorclass=set:http,HTTPClient", "--dhcp-option-force=tag:http,60,HTTPClient",
			"--dhcp-boot=tag:http,http://10.77.0.1/sidus.efi", "--dhcp-boot=tag:!http,pxelinux.0")
		l := leased(t, net)
		url, err := BootURL(t.Context(), l)
		if url != "http://10.77.0.1/sidus.efi" || err != nil {
			t.Errorf("%q, %v", url, err)
		}
		if log := server.Log(); !strings.Contains(log, "DHCPINFORM") || strings.Contains(log, "DHCPREQUEST") || strings.Contains(log, "DHCPRELEASE") {
			t.Errorf("dnsmasq saw something else than DHCPINFORM:\n%s", log)
		}
	})
}

// What other servers answer, or do not.
func TestBootURLAnswers(t *testing.T) {
	const good = "http://10.77.0.9/x"
	file := func(s string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptBootFileName(s)) }
	ack := dhcpv4.WithMessageType(dhcpv4.MessageTypeAck)
	for _, tt := range []struct {
		name    string
		answers [][]dhcpv4.Modifier
		want    string
	}{
		{"silence", nil, ""},
		{"option 67", [][]dhcpv4.Modifier{{ack, file(good + "\x00")}}, good},
		{"the field file", [][]dhcpv4.Modifier{{ack, func(m *dhcpv4.DHCPv4) { m.BootFileName = good }}}, good},
		{"a name that is no URL", [][]dhcpv4.Modifier{{ack, file("pxelinux.0")}}, ""},
		{"a server without, then one with a URL", [][]dhcpv4.Modifier{{ack}, {ack, file(good)}}, good},
		{"a control character", [][]dhcpv4.Modifier{{ack, file("http://10.77.0.9/\x1b[2J")}}, ""},
		{"no ACK", [][]dhcpv4.Modifier{{dhcpv4.WithMessageType(dhcpv4.MessageTypeNak), file(good)}, {dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), file(good)}}, ""},
		{"another node's", [][]dhcpv4.Modifier{{ack, file(good), dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 9})}}, ""},
		{"another transaction's", [][]dhcpv4.Modifier{{ack, file(good), dhcpv4.WithTransactionID(dhcpv4.TransactionID{})}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			networktest.Isolated(t, func() {
				n := networktest.New(t)
				fake := n.Server.FakeDHCP("br0", func(_ int, m *dhcpv4.DHCPv4) (all [][]byte) {
					for _, mods := range tt.answers {
						all = append(all, networktest.Reply(m, "0.0.0.0", mods...))
					}
					return all
				})
				l := leased(t, n)
				got, err := BootURL(t.Context(), l)
				if got != tt.want || err != nil {
					t.Errorf("%q, %v, want %q", got, err, tt.want)
				}
				for _, m := range fake.Seen() {
					if m.MessageType() != dhcpv4.MessageTypeInform || m.ClassIdentifier() != "HTTPClient:Arch:00016:UNDI:003001" || !m.ClientIPAddr.Equal(net.IPv4(10, 77, 0, 7)) || m.IPAddressLeaseTime(0) != 0 {
						t.Errorf("sent %s", m.Summary())
					}
				}
			})
		})
	}
	if _, err := BootURL(t.Context(), &Lease{Addr: netip.MustParsePrefix("fd77::7/64"), MAC: mac}); err == nil {
		t.Error("IPv6: no error")
	}
}
