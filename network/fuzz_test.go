package network

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/network/dhcp6"
)

// FuzzReply: what a hostile DHCP server sends is this node's and of this
// transaction, or nothing.
func FuzzReply(f *testing.F) {
	m := newMessage(2, [4]byte{1, 2, 3, 4}, mac, dhcpOptions{}, 0)
	m.OpCode = 2
	f.Add(wrapUDP(netip.MustParseAddrPort("10.0.0.1:67"), netip.MustParseAddrPort("255.255.255.255:68"), m.ToBytes()))
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, ok := unwrapUDP(b, clientPort)
		if !ok {
			return
		}
		m := parseReply(payload, [4]byte{1, 2, 3, 4}, mac)
		if m == nil {
			return
		}
		c := &dhcpClient{device: "eth0", mac: mac}
		l, err := c.leaseOf(m)
		if (l == nil) == (err == nil) {
			t.Errorf("judge = %v, %v", l, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b\x00") {
			t.Errorf("error %q would spoil the console", err)
		}
	})
}

func FuzzARP(f *testing.F) {
	f.Add([]byte("\x00\x01\x08\x00\x06\x04\x00\x02......\x0a\x00\x00\x01......\x0a\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := parseARP(b); ok && (len(m.sender) != 6 || !m.senderIP.Is4() || !m.targetIP.Is4()) {
			t.Errorf("%+v", m)
		}
	})
}

func FuzzAdvertisement(f *testing.F) {
	head := "\x86\x00..\x40\xc0\x07\x08........"
	f.Add([]byte(head + "\x03\x04\x40\xc0............\xfd\x77\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte(head + "\x19\x03......\xfd\x77\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x53\x1f\x02......\x01a\x04test\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := parseAdvertisement(b)
		if !ok {
			return
		}
		for _, p := range a.prefixes {
			if !p.IsValid() {
				t.Errorf("prefix %v", p)
			}
		}
		for _, s := range a.search {
			if s == "" || strings.ContainsAny(s, "\n\x1b\x00") {
				t.Errorf("domain %q", s)
			}
		}
	})
}

// FuzzDHCP6: what a server says goes into files and leases only when it fits.
func FuzzDHCP6(f *testing.F) {
	m := &dhcp6.Message{Kind: dhcp6.Reply}
	ia := dhcp6.IANA(7, netip.MustParseAddr("fd77::7"))
	ia[len(ia)-1] = 60
	m.Add(dhcp6.OptIANA, ia)
	m.Add(dhcp6.OptBootURL, []byte("nfs://[fd77::1]/srv"))
	m.Add(dhcp6.OptSearch, []byte("\x01a\x04test\x00"))
	f.Add(m.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcp6.Parse(b)
		if err != nil {
			return
		}
		got := m.Answer(7)
		lease, t1, t2 := times6(got)
		if got.Addr.IsValid() && lease > 0 && !(0 < t1 && t1 < t2 && t2 < lease) || lease < 0 || lease > 1<<32*time.Second {
			t.Errorf("times %v %v %v of %+v", lease, t1, t2, got)
		}
		var l Lease
		l.addFacts(got)
		for _, s := range append([]string{l.RootPath, l.BootFile}, l.Search...) {
			if strings.ContainsAny(s, "\n\x1b\x00") {
				t.Errorf("%q would spoil a file", s)
			}
		}
	})
}

// The next hop is the longest route's.
func TestNextHop(t *testing.T) {
	l := Lease{Addr: netip.MustParsePrefix("10.77.0.11/24"), Routes: []Route{
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.77.0.1")},
		{Dst: netip.MustParsePrefix("10.88.0.0/16"), Gateway: netip.MustParseAddr("10.77.0.2")},
		{Dst: netip.MustParsePrefix("10.99.0.1/32")},
	}}
	for to, want := range map[string]string{
		"10.77.0.5": "10.77.0.5", "10.88.1.1": "10.77.0.2", "10.99.0.1": "10.99.0.1", "8.8.8.8": "10.77.0.1",
	} {
		t.Run(to, func(t *testing.T) {
			if got := l.NextHop(netip.MustParseAddr(to)); got.String() != want {
				t.Errorf("NextHop(%s) = %s, want %s", to, got, want)
			}
		})
	}
	if got := (&Lease{Addr: netip.MustParsePrefix("10.77.0.11/24")}).NextHop(netip.MustParseAddr("8.8.8.8")); got.IsValid() {
		t.Errorf("without a route: %s", got)
	}
}

// The phases of a lease, with waits that never are shorter than the least.
func TestPhases(t *testing.T) {
	l := Lease{MAC: net.HardwareAddr{}, Addr: netip.MustParsePrefix("10.0.0.7/24"), Time: 8 * time.Hour, T1: 4 * time.Hour, T2: 7 * time.Hour}
	hours := l.State(1, "")
	l.Time, l.T1, l.T2 = 120*time.Second, 60*time.Second, 105*time.Second
	short := l.State(1, "")
	for _, tt := range []struct {
		lease *LeaseState
		age   time.Duration
		phase phase
		pause time.Duration
	}{
		{hours, 0, bound, 4 * time.Hour},
		{hours, 4 * time.Hour, renewing, 90 * time.Minute},
		{hours, 7*time.Hour - time.Minute, renewing, time.Minute},
		{hours, 7 * time.Hour, rebinding, 30 * time.Minute},
		{hours, 8*time.Hour - time.Second, rebinding, time.Minute},
		{hours, 9 * time.Hour, expired, 15 * time.Second},
		{short, 61 * time.Second, renewing, 22 * time.Second},
		{short, 104 * time.Second, renewing, 7500 * time.Millisecond},
		{short, 106 * time.Second, rebinding, 7500 * time.Millisecond},
		{short, time.Hour, expired, 15 * time.Second},
	} {
		t.Run(fmt.Sprint(tt.lease), func(t *testing.T) {
			if p, pause := tt.lease.phaseAt(tt.age); p != tt.phase || pause != tt.pause {
				t.Errorf("at %v of %v: phase %d, %v, want %d, %v", tt.age, tt.lease.Time, p, pause, tt.phase, tt.pause)
			}
		})
	}
}

// A lease goes to another process as text, whatever a server put into it.
func FuzzLeaseState(f *testing.F) {
	four := &LeaseState{Device: "eth0", Index: 2, MAC: mac, Addr: netip.MustParseAddr("10.0.0.7"), Server: netip.MustParseAddr("10.0.0.1"),
		ClientID: "\x00a \"b\"", Hostname: "n", Time: time.Hour, T1: time.Minute, T2: 2 * time.Minute, Since: time.Second}
	six := &LeaseState{Device: "eth0", Index: 2, MAC: mac, Addr: netip.MustParseAddr("fd77::7"), Time: time.Hour, DHCP6: &DHCP6Binding{Server: []byte("\x00\xff\n"), IAID: 1<<32 - 1}}
	for _, t := range []*LeaseState{four, six} {
		f.Add(t.String())
		got, err := ParseLeaseState(t.String())
		if err != nil || !reflect.DeepEqual(got, t) {
			f.Errorf("ParseLeaseState(%s) = %+v, %v, want %+v", t, got, err, t)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseLeaseState(s)
		if err != nil {
			return
		}
		again, err := ParseLeaseState(got.String())
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%+v becomes %+v, %v", got, again, err)
		}
	})
}
