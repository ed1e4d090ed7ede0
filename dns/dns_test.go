package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// serveDNS answers questions on the loopback: with an address, with an alias
// and its address, or with a code. A name that it does not know gets no answer.
func serveDNS(t *testing.T, known map[string]any) *Resolver {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			m.Response = true
			q := m.Questions[0]
			header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}
			switch v := known[q.Name.String()].(type) {
			case string:
				m.Answers = []dnsmessage.Resource{
					{Header: header, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("real.test.")}},
					{Header: header, Body: &dnsmessage.AResource{A: netip.MustParseAddr(v).As4()}},
				}
			case dnsmessage.RCode:
				m.RCode = v
			case []dnsmessage.SRVResource:
				for i := range v {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &v[i]})
				}
			default:
				continue
			}
			// Somebody else's packets come first.
			other := m
			other.ID++
			for _, msg := range []dnsmessage.Message{other, m} {
				if answer, err := msg.Pack(); err == nil {
					_, _ = conn.WriteToUDPAddrPort(append([]byte{}, answer...), from)
				}
			}
			_, _ = conn.WriteToUDPAddrPort([]byte("x"), from)
		}
	}()
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &Resolver{Servers: []netip.Addr{local.Addr()}, Port: local.Port(), Search: []string{"a.test", "b.test."}}
}

func TestLookup(t *testing.T) {
	r := serveDNS(t, map[string]any{
		"nfs.b.test.": "10.77.0.9", "nfs.a.test.": dnsmessage.RCodeNameError, "full.example.": "10.77.0.8",
		"refused.a.test.": dnsmessage.RCodeRefused, "empty.a.test.": dnsmessage.RCodeSuccess,
		"none.a.test.": dnsmessage.RCodeNameError, "none.b.test.": dnsmessage.RCodeNameError, "none.": dnsmessage.RCodeNameError,
		// What one domain's servers do not answer, the next one's may.
		"nas.a.test.": dnsmessage.RCodeServerFailure, "nas.b.test.": "10.77.0.7",
		"box.a.test.": dnsmessage.RCodeRefused, "box.b.test.": "10.77.0.6",
		"old.a.test.": dnsmessage.RCodeNotImplemented, "old.b.test.": "10.77.0.5",
		"mute.b.test.":    "10.77.0.4", // and no answer at all for mute.a.test
		"refused.b.test.": dnsmessage.RCodeNameError, "refused.": dnsmessage.RCodeNameError,
	})
	for _, tt := range []struct{ name, want, err string }{
		{"nfs", "10.77.0.9", ""}, {"nfs.b.test", "10.77.0.9", ""}, {"full.example", "10.77.0.8", ""}, {"full.example.", "10.77.0.8", ""},
		{"nas", "10.77.0.7", ""}, {"box", "10.77.0.6", ""}, {"old", "10.77.0.5", ""}, {"mute", "10.77.0.4", ""},
		{"refused", "", "as refused.a.test.: ask 127.0.0.1: the server answers Refused"}, {"none", "", "no such name"},
		{strings.Repeat("x", 300), "", "look up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := r.Lookup(t.Context(), tt.name)
			if tt.want != "" && (err != nil || got.String() != tt.want) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("Lookup(%s) = %v, %v, want %s %s", tt.name, got, err, tt.want, tt.err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if got, err := r.Lookup(ctx, "silent."); err == nil || time.Since(start) > time.Second {
		t.Errorf("no answer: %v, %v after %v, want an error at the deadline", got, err, time.Since(start))
	}
	if _, err := (&Resolver{}).Lookup(t.Context(), "nfs"); err == nil || !strings.Contains(err.Error(), "no DNS server is known") {
		t.Errorf("no server: %v", err)
	}
}

// The servers of a service, in an order that does not depend on the answer's.
func TestLookupService(t *testing.T) {
	srv := func(priority, weight, port uint16, target string) dnsmessage.SRVResource {
		return dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: dnsmessage.MustNewName(target)}
	}
	records := []dnsmessage.SRVResource{srv(20, 0, 2049, "spare.test."), srv(10, 20, 2049, "b.test."), srv(10, 60, 2050, "c.test."), srv(10, 20, 2049, "a.test.")}
	r := serveDNS(t, map[string]any{
		"_nfs._tcp.a.test.": dnsmessage.RCodeNameError, "_nfs._tcp.b.test.": records, "_nfs._tcp.example.org.": records[:1],
		"_nfs._tcp.none.org.": []dnsmessage.SRVResource{srv(0, 0, 0, ".")},
	})
	for name, want := range map[string]string{
		"_nfs._tcp":             "c.test.:2050 a.test.:2049 b.test.:2049 spare.test.:2049",
		"_nfs._tcp.example.org": "spare.test.:2049",
		"_nfs._tcp.none.org":    "the domain has no such service",
	} {
		t.Run(name, func(t *testing.T) {
			all, err := r.LookupService(t.Context(), name)
			var got []string
			for _, s := range all {
				got = append(got, fmt.Sprintf("%s:%d", s.Target, s.Port))
			}
			if err != nil {
				got = append(got, err.Error())
			}
			if text := strings.Join(got, " "); !strings.HasSuffix(text, want) {
				t.Errorf("LookupService = %s, want %s", text, want)
			}
		})
	}
}

// FuzzDNS: an answer has a record or is an error, whatever is in the packet.
func FuzzDNS(f *testing.F) {
	name := dnsmessage.MustNewName("nfs.test.")
	for _, body := range []dnsmessage.ResourceBody{&dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}, &dnsmessage.SRVResource{Target: name}} {
		kind := dnsmessage.TypeA
		if _, ok := body.(*dnsmessage.SRVResource); ok {
			kind = dnsmessage.TypeSRV
		}
		m := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: 7, Response: true},
			Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}},
			Answers:   []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: body}},
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeSRV} {
			records := 0
			ours, err := parseAnswer(b, 7, name, question{kind: kind, add: func(p *dnsmessage.Parser) error {
				records++
				if kind == dnsmessage.TypeA {
					_, err := p.AResource()
					return err
				}
				_, err := p.SRVResource()
				return err
			}})
			if ours && err == nil && records == 0 {
				t.Error("an answer without a record is no error")
			}
			if !ours && (err != nil || records > 0) {
				t.Errorf("a packet that is no answer: %d records, %v", records, err)
			}
		}
	})
}
