package dhcp6

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func reply() *Message {
	m := &Message{Kind: Reply, XID: [3]byte{1, 2, 3}}
	m.Add(OptClientID, []byte{0, 3, 0, 1, 1, 2, 3, 4, 5, 6})
	m.Add(OptServerID, []byte("server"))
	return m
}

// ia is an identity association with an address of some lifetime, in seconds.
func ia(iaid uint32, addr string, valid byte) []byte {
	b := IANA(iaid, netip.MustParseAddr(addr))
	b[7], b[11], b[len(b)-1] = 10, 20, valid
	return b
}

func TestAnswer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(m *Message)
		want   Answer
	}{
		{"an address", func(m *Message) { m.Add(OptIANA, ia(7, "fd77::7", 60)) },
			Answer{Addr: netip.MustParseAddr("fd77::7"), T1: 10 * time.Second, T2: 20 * time.Second, Valid: time.Minute}},
		{"one that is taken away", func(m *Message) { m.Add(OptIANA, ia(7, "fd77::7", 0)) }, Answer{T1: 10 * time.Second, T2: 20 * time.Second}},
		{"multicast", func(m *Message) { m.Add(OptIANA, ia(7, "ff02::1", 60)) }, Answer{T1: 10 * time.Second, T2: 20 * time.Second}},
		{"another association", func(m *Message) { m.Add(OptIANA, ia(8, "fd77::7", 60)) }, Answer{}},
		{"a short association", func(m *Message) { m.Add(OptIANA, ia(7, "fd77::7", 60)[:20]) }, Answer{T1: 10 * time.Second, T2: 20 * time.Second}},
		{"a refusal in the association", func(m *Message) {
			m.Add(OptIANA, append(IANA(7, netip.Addr{}), 0, OptStatus, 0, 4, 0, 2, 'n', 'o'))
		}, Answer{Status: 2, StatusText: "no"}},
		{"facts", func(m *Message) {
			m.Add(OptDNS, make([]byte, 16))
			m.Add(OptSearch, []byte("\x01a\x00"))
			m.Add(OptBootURL, []byte("nfs://[fd77::1]/srv"))
		}, Answer{DNS: make([]byte, 16), Search: []byte("\x01a\x00"), BootURL: "nfs://[fd77::1]/srv"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := reply()
			tt.change(m)
			got, want := m.Answer(7), tt.want
			if got.Addr != want.Addr || got.T1 != want.T1 || got.T2 != want.T2 || got.Valid != want.Valid ||
				got.Status != want.Status || got.StatusText != want.StatusText || string(got.Server) != "server" ||
				!bytes.Equal(got.DNS, want.DNS) || !bytes.Equal(got.Search, want.Search) || got.BootURL != want.BootURL {
				t.Errorf("Answer = %+v, want %+v", got, want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	b := reply().Encode()
	for _, n := range []int{0, 3, 5, 7, len(b) - 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			if m, err := Parse(b[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("the first %d bytes: %+v, %v, want ErrMalformed", n, m, err)
			}
		})
	}
}

// FuzzMessage: what can be read is written as it was, and holds an address that
// can be used or none.
func FuzzMessage(f *testing.F) {
	m := reply()
	m.Add(OptIANA, ia(7, "fd77::7", 60))
	m.Add(OptStatus, []byte("\x00\x02no"))
	f.Add(m.Encode())
	f.Add(reply().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		if again := m.Encode(); !bytes.Equal(again, b) {
			t.Errorf("%x is written as %x", b, again)
		}
		a := m.Answer(7)
		if a.Addr.IsValid() && (!a.Addr.Is6() || a.Addr.Is4In6() || a.Addr.IsMulticast() || a.Valid <= 0 || a.Valid >= 1<<32*time.Second) {
			t.Errorf("%+v", a)
		}
	})
}
