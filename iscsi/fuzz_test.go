package iscsi

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

func FuzzPDU(f *testing.F) {
	f.Add([]byte{})
	f.Add((&PDU{AHS: []byte{1}, Data: []byte("a=b\x00")}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ReadPDU(bytes.NewReader(b), maxLoginData)
		if err != nil {
			return
		}
		if len(p.Data) > maxLoginData || len(p.AHS) > 1020 {
			t.Fatalf("%d and %d bytes", len(p.Data), len(p.AHS))
		}
		again, err := ReadPDU(bytes.NewReader(p.Append(nil)), maxLoginData)
		if err != nil || !bytes.Equal(again.Data, p.Data) || !bytes.Equal(again.AHS, p.AHS) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("a=b\x00c=\x00"))
	f.Add([]byte("CHAP_C=0bYWI=\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pairs, err := ParseText(b)
		if err != nil {
			return
		}
		wire := AppendText(nil, pairs)
		again, err := ParseText(wire)
		if err != nil && len(wire) <= maxText || err == nil && len(again) != len(pairs) {
			t.Fatalf("%q became %q, %v", pairs, again, err)
		}
		n := newNegotiation(&Target{})
		n.offers()
		for _, p := range pairs {
			if n.take(p) != nil {
				return
			}
		}
		params, err := n.finish(&Target{})
		if err == nil && (params.FirstBurst > params.MaxBurst || params.MaxBurst < minSegment || params.MaxXmit < minSegment || params.MaxOutstandingR2T != 1 || params.ErrorRecoveryLevel != 0) {
			t.Fatalf("%q: %+v", pairs, params)
		}
	})
}

func FuzzCHAP(f *testing.F) {
	f.Add("5", "200", "0x00ff", "nas", "0b")
	f.Add("8", "0x1", "0bYWI=", "", "")
	f.Fuzz(func(t *testing.T, algorithm, id, challenge, name, answer string) {
		target := &Target{User: "u", Password: "p", UserIn: "v", PasswordIn: "q", CHAP: []Algorithm{MD5, SHA1, SHA256, SHA3256}}
		c := &chap{target: target}
		out, err := c.respond([]Pair{{"CHAP_A", algorithm}, {"CHAP_I", id}, {"CHAP_C", challenge}})
		if err != nil {
			return
		}
		if len(out) != 4 {
			t.Fatalf("%q", out)
		}
		if c.verify([]Pair{{"CHAP_N", name}, {"CHAP_R", answer}}) == nil {
			t.Fatal("believed")
		}
	})
}

// FuzzLogin is a hostile target's byte stream: each input is sent as it is,
// whatever the initiator says.
func FuzzLogin(f *testing.F) {
	answer := func(flags byte, text string) []byte {
		p := PDU{Data: []byte(text)}
		p.Header[0], p.Header[1], p.Header[19] = OpLoginResponse, flags, 1
		return p.Append(nil)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	f.Add(join(answer(0x81, "AuthMethod=None\x00"), answer(0x87, "MaxBurstLength=512\x00")), false)
	f.Add(join(answer(0, "AuthMethod=CHAP\x00"), answer(0, "CHAP_A=5\x00CHAP_I=1\x00CHAP_C=0x01\x00"), answer(0x81, "CHAP_N=v\x00CHAP_R=0x01\x00")), true)
	f.Add(bytes.Repeat(answer(0x40, "Auth"), 200), true)
	f.Add(answer(0x81, "X=Y\x00TargetPortalGroupTag=1\x00"), false)
	f.Fuzz(func(t *testing.T, stream []byte, mutual bool) {
		target := Target{Name: "iqn.2013-09.org.example:t", Initiator: "iqn.2013-09.org.example:n"}
		if mutual {
			target.User, target.Password, target.UserIn, target.PasswordIn = "u", "p", "v", "q"
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c := &stub{in: bytes.NewReader(stream)}
		params, err := Login(ctx, NewConn(c), target)
		if ctx.Err() != nil {
			t.Fatal("it took five seconds")
		}
		if err == nil && (mutual || params.FirstBurst > params.MaxBurst) {
			t.Fatalf("accepted: %+v", params)
		}
		if c.out > maxRounds*(maxLoginData+headerLen) {
			t.Fatalf("%d bytes sent", c.out)
		}
	})
}

// A stub is a connection that hears nothing and says what it was given.
type stub struct {
	net.Conn
	in  *bytes.Reader
	out int
}

func (s *stub) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *stub) Write(b []byte) (int, error) { s.out += len(b); return len(b), nil }
func (s *stub) SetDeadline(time.Time) error { return nil }
func (s *stub) Close() error                { return nil }

func FuzzEvent(f *testing.F) {
	f.Add(kernelEvent(keventRecvPDU, []uint32{1, 0}, (&PDU{Data: []byte("a")}).Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := newEvents()
		e.subscribe(1)
		e.dispatch(b)
	})
}

func FuzzNames(f *testing.F) {
	f.Add("iqn.2001-04.com.example:x")
	f.Add("[fe80::1%eth0]:1,2")
	f.Fuzz(func(t *testing.T, text string) {
		if portal, err := ParsePortal(text); err == nil {
			if again, err := ParsePortal(portal.String()); err != nil || again != portal {
				t.Fatalf("%q is %q, and that is %q, %v", text, portal, again, err)
			}
		}
		if name, err := NormalizeName(text); err == nil {
			if again, err := NormalizeName(name); err != nil || again != name {
				t.Fatalf("%q is %q, and that is %q, %v", text, name, again, err)
			}
		}
	})
}

// FuzzUnit is what a target may answer a command with.
func FuzzUnit(f *testing.F) {
	response := PDU{Data: []byte{0, 3, 0x70, 0, 5}}
	response.Header[0], response.Header[3] = opResponse, 2
	dataIn := PDU{Data: []byte("0123456789")}
	dataIn.Header[0], dataIn.Header[1] = opDataIn, flagFinal|flagStatus
	r2t := PDU{}
	r2t.Header[0] = opR2T
	r2t.Header.SetUint32(44, 16)
	for _, p := range []PDU{response, dataIn, r2t} {
		p.Header.SetUint32(16, 1)
		f.Add(p.Append(nil), p.Header[0] == opR2T)
	}
	f.Fuzz(func(t *testing.T, b []byte, write bool) {
		ours, theirs := net.Pipe()
		go func() {
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			_, _ = theirs.Write(b)
			theirs.Close()
		}()
		defer ours.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		u, err := NewUnit(ctx, ours, Target{Name: "iqn.2013-09.org.example:t", Initiator: "iqn.2013-09.org.example:i"})
		if err != nil {
			t.Fatal(err)
		}
		frame := bytes.Repeat([]byte{0xa5}, 48)
		_, sense, err := u.Execute([]byte{0x28}, frame[16:32:32], write)
		if err == nil && len(sense) > len(b) || ctx.Err() != nil {
			t.Fatalf("%d bytes of sense, %v, %v", len(sense), err, ctx.Err())
		}
		if !bytes.Equal(frame[:16], frame[32:]) || frame[0] != 0xa5 {
			t.Fatal("something else was written to")
		}
	})
}
