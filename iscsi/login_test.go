package iscsi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/iscsi/iscsitest"
)

const (
	targetName = "iqn.2013-09.org.example.nas:10.1.2.3"
	nodeName   = "iqn.2013-09.org.example:node.10.1.2.3"
)

func node() iscsi.Target {
	return iscsi.Target{Name: targetName, Initiator: nodeName}
}

func withCHAP() iscsi.Target {
	t := node()
	t.User, t.Password = "node", "a secret of the node"
	return t
}

func withMutual() iscsi.Target {
	t := withCHAP()
	t.UserIn, t.PasswordIn = "nas", "a secret of the target"
	return t
}

// login is a login over a pipe.
func login(t *testing.T, target *iscsitest.Target, in iscsi.Target) (iscsi.Params, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- target.Serve(theirs)
		theirs.Close()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	params, err := iscsi.Login(ctx, iscsi.NewConn(ours), in)
	ours.Close()
	if serveErr := <-served; err == nil && serveErr != nil {
		t.Errorf("the target saw: %v", serveErr)
	}
	return params, err
}

func TestLogin(t *testing.T) {
	chapped := iscsitest.Target{User: "node", Password: "a secret of the node", UserIn: "nas", PasswordIn: "a secret of the target"}
	for _, tt := range []struct {
		name   string
		target *iscsitest.Target
		node   iscsi.Target
	}{
		{"open", &iscsitest.Target{}, node()},
		{"credentials that nobody asks for", &iscsitest.Target{}, withCHAP()},
		{"CHAP", &iscsitest.Target{User: chapped.User, Password: chapped.Password}, withCHAP()},
		{"mutual", &iscsitest.Target{User: chapped.User, Password: chapped.Password, UserIn: chapped.UserIn, PasswordIn: chapped.PasswordIn}, withMutual()},
		{"mutual in base64, in pieces, slowly, from a high StatSN", &iscsitest.Target{User: chapped.User, Password: chapped.Password, UserIn: chapped.UserIn, PasswordIn: chapped.PasswordIn, Base64: true, Split: 30, Slow: true, StatSN: 0xfffffffe}, withMutual()},
		{"slow", &iscsitest.Target{Slow: true}, node()},
		{"in pieces", &iscsitest.Target{Split: 20}, node()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			params, err := login(t, tt.target, tt.node)
			if err != nil {
				t.Fatal(err)
			}
			if params.TSIH != 7 || params.PortalGroup != 1 || params.MaxBurst != 16776192 || params.MaxXmit != 262144 || params.InitialR2T || !params.ImmediateData {
				t.Errorf("got %+v", params)
			}
			if got, want := tt.target.ISID(), [6]byte(iscsi.NodeISID(nodeName)); got != want {
				t.Errorf("ISID %x, want %x", got, want)
			}
			if seen := fmt.Sprint(tt.target.Seen()); strings.Contains(seen, "a secret") {
				t.Errorf("a secret went over the wire: %s", seen)
			}
		})
	}
}

func TestLoginFails(t *testing.T) {
	wrong := withCHAP()
	wrong.Password = "another secret"
	impostor := iscsitest.Target{User: "node", Password: "a secret of the node", UserIn: "nas", PasswordIn: "wrong, wrong"}
	for _, tt := range []struct {
		name   string
		target *iscsitest.Target
		node   iscsi.Target
		want   error
		say    string
	}{
		{"wrong password", &iscsitest.Target{User: "node", Password: "a secret of the node"}, wrong, iscsi.ErrAuthentication, "status 0201"},
		{"CHAP wanted, none given", &iscsitest.Target{User: "node", Password: "x"}, node(), iscsi.ErrAuthentication, "status 0201"},
		{"unknown target", &iscsitest.Target{Name: "iqn.2013-09.org.example:other"}, node(), iscsi.ErrNotFound, "list of targets"},
		{"not authorised", &iscsitest.Target{Status: 0x0202}, node(), iscsi.ErrNotAuthorized, "access list"},
		{"removed", &iscsitest.Target{Status: 0x0204}, node(), iscsi.ErrNotFound, "removed permanently"},
		{"too many", &iscsitest.Target{Status: 0x0206}, node(), iscsi.ErrBusy, "too many"},
		{"busy", &iscsitest.Target{Status: 0x0302}, node(), iscsi.ErrBusy, "out of resources"},
		{"strange", &iscsitest.Target{Status: 0x0777}, node(), nil, "unknown status"},
		{"impostor", &impostor, withMutual(), iscsi.ErrAuthentication, "does not have"},
		{"no mutual proof", &iscsitest.Target{User: "node", Password: "a secret of the node"}, withMutual(), iscsi.ErrAuthentication, "did not prove its password"},
		{"no CHAP where mutual is wanted", &iscsitest.Target{}, withMutual(), iscsi.ErrAuthentication, "0201"},
		{"redirect without an address", &iscsitest.Target{Status: 0x0101}, node(), iscsi.ErrProtocol, "without TargetAddress"},
		{"never goes on", &iscsitest.Target{Mutate: func(p *iscsi.PDU) { p.Header[1] &= 0x0c }}, node(), iscsi.ErrProtocol, "not finished"},
		{"goes on unasked", &iscsitest.Target{User: "node", Password: "x", Mutate: func(p *iscsi.PDU) { p.Header[1] |= 0x81 }}, withCHAP(), iscsi.ErrProtocol, "without a request"},
		{"skips the proof", &iscsitest.Target{Mutate: func(p *iscsi.PDU) {
			p.Header[1], p.Data = 0x81, []byte("AuthMethod=None\x00")
			p.Header.SetUint16(36, 0)
		}}, withMutual(), nil, "without a request"},
		{"another version", &iscsitest.Target{Mutate: func(p *iscsi.PDU) { p.Header[3] = 1 }}, node(), iscsi.ErrProtocol, "version 1"},
		{"another opcode", &iscsitest.Target{Mutate: func(p *iscsi.PDU) { p.Header[0] = 0x24 }}, node(), iscsi.ErrProtocol, "opcode"},
		{"reject", &iscsitest.Target{Mutate: func(p *iscsi.PDU) { p.Header[0], p.Header[2] = 0x3f, 4 }}, node(), iscsi.ErrProtocol, "reason 0x04"},
		{"another task", &iscsitest.Target{Mutate: func(p *iscsi.PDU) { p.Header[19] = 9 }}, node(), iscsi.ErrProtocol, "task 0x9"},
		{"more and more", &iscsitest.Target{Mutate: func(p *iscsi.PDU) {
			p.Header[1], p.Data = 0x40, make([]byte, 8192)
		}}, node(), iscsi.ErrProtocol, "bytes of text"},
		{"not operational", &iscsitest.Target{Status: 0x0301}, node(), iscsi.ErrBusy, "LIO"},
		{"no digest", &iscsitest.Target{Reply: map[string]string{"HeaderDigest": "None"}}, func() iscsi.Target {
			n := node()
			n.HeaderDigest = iscsi.DigestRequire
			return n
		}(), iscsi.ErrProtocol, "CRC32C"},
		{"no CHAP algorithm in common", &iscsitest.Target{User: "node", Password: "x"}, func() iscsi.Target {
			n := withCHAP()
			n.CHAP = []iscsi.Algorithm{iscsi.SHA3256}
			return n
		}(), iscsi.ErrAuthentication, "algorithms 8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := login(t, tt.target, tt.node)
			var loginErr *iscsi.LoginError
			if err == nil || !errors.As(err, &loginErr) && tt.name != "another task" {
				t.Fatalf("got %v, want a LoginError", err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%v is not %v", err, tt.want)
			}
			for _, other := range []error{iscsi.ErrAuthentication, iscsi.ErrNotAuthorized, iscsi.ErrNotFound, iscsi.ErrBusy} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("%v is %v as well", err, other)
				}
			}
			if !strings.Contains(err.Error(), tt.say) {
				t.Errorf("%q does not say %q", err, tt.say)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("a secret is in %q", err)
			}
		})
	}
}

func TestOwnChallengeSentBack(t *testing.T) {
	// The target answers our challenge with our own answer.
	target := &iscsitest.Target{User: "node", Password: "a secret of the node", UserIn: "nas", PasswordIn: "x"}
	target.Mutate = func(p *iscsi.PDU) {
		if !strings.Contains(string(p.Data), "CHAP_R") {
			return
		}
		for _, item := range target.Seen() {
			if strings.HasPrefix(item, "CHAP_R=") {
				p.Data = []byte("CHAP_N=nas\x00" + item + "\x00")
			}
		}
	}
	_, err := login(t, target, withMutual())
	if !errors.Is(err, iscsi.ErrAuthentication) || !strings.Contains(err.Error(), "sends our own") {
		t.Errorf("got %v", err)
	}
}

func TestNegotiation(t *testing.T) {
	required := node()
	required.HeaderDigest, required.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire
	for _, tt := range []struct {
		name  string
		reply map[string]string
		node  iscsi.Target
		check func(p iscsi.Params) bool
		fail  bool
	}{
		{"nothing is answered: the defaults", map[string]string{
			"MaxRecvDataSegmentLength": "", "InitialR2T": "", "ImmediateData": "", "MaxBurstLength": "", "FirstBurstLength": "",
			"DefaultTime2Retain": "",
		}, node(), func(p iscsi.Params) bool {
			return p.MaxXmit == 8192 && p.InitialR2T && p.ImmediateData && p.MaxBurst == 262144 && p.FirstBurst == 65536 && p.DefaultTime2Retain == 20
		}, false},
		{"declined", map[string]string{
			"MaxBurstLength": "Reject", "FirstBurstLength": "Irrelevant", "ImmediateData": "NotUnderstood", "MaxConnections": "None", "HeaderDigest": "Reject",
		}, node(), func(p iscsi.Params) bool {
			return p.MaxBurst == 262144 && p.FirstBurst == 65536 && p.ImmediateData && p.MaxConnections == 1 && !p.HeaderDigest
		}, false},
		{"more than was offered", map[string]string{"FirstBurstLength": "16777215", "ErrorRecoveryLevel": "2", "MaxOutstandingR2T": "8"},
			node(), func(p iscsi.Params) bool {
				return p.FirstBurst == 262144 && p.ErrorRecoveryLevel == 0 && p.MaxOutstandingR2T == 1
			}, false},
		{"first burst beyond the whole", map[string]string{"MaxBurstLength": "4096"}, node(),
			func(p iscsi.Params) bool { return p.FirstBurst == 4096 }, false},
		{"the target insists on digests", map[string]string{"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}, node(),
			func(p iscsi.Params) bool { return p.HeaderDigest && p.DataDigest }, false},
		{"we insist", nil, required, func(p iscsi.Params) bool { return p.HeaderDigest && p.DataDigest }, false},
		{"hexadecimal", map[string]string{"MaxBurstLength": "0x10000"}, node(), func(p iscsi.Params) bool { return p.MaxBurst == 65536 }, false},
		{"the target brings keys up", map[string]string{"X-org.example": "1", "TargetAlias": "a=b", "TargetPortalGroupTag": "9", "IFMarker": "Yes"}, node(),
			func(p iscsi.Params) bool { return p.PortalGroup == 9 && p.TargetAlias == "a=b" }, false},
		{"no number", map[string]string{"MaxBurstLength": "many"}, node(), nil, true},
		{"too small", map[string]string{"MaxRecvDataSegmentLength": "12"}, node(), nil, true},
		{"neither", map[string]string{"InitialR2T": "Maybe"}, node(), nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			params, err := login(t, &iscsitest.Target{Reply: tt.reply, Slow: true}, tt.node)
			if (err != nil) != tt.fail {
				t.Fatal(err)
			}
			if err == nil && !tt.check(params) {
				t.Errorf("got %+v", params)
			}
		})
	}
}

func TestUnknownKeysAreAnswered(t *testing.T) {
	target := &iscsitest.Target{Slow: true, Reply: map[string]string{"X-org.example": "1", "OFMarker": "Yes", "Y": "NotUnderstood"}}
	if _, err := login(t, target, node()); err != nil {
		t.Fatal(err)
	}
	seen := target.Seen()
	for _, want := range []string{"X-org.example=NotUnderstood", "OFMarker=No", "MaxRecvDataSegmentLength=262144", "SessionType=Normal"} {
		t.Run(want, func(t *testing.T) {
			if !slices.Contains(seen, want) {
				t.Errorf("%s is not among %q", want, seen)
			}
		})
	}
	if slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, "Y=") }) {
		t.Errorf("an answer was answered: %q", seen)
	}
}

// LIO hangs up on a node without credentials instead of answering.
func TestLoginHungUp(t *testing.T) {
	for _, tt := range []struct {
		node iscsi.Target
		chap bool
	}{{node(), true}, {withCHAP(), false}} {
		ours, theirs := net.Pipe()
		go func() {
			iscsi.ReadPDU(theirs, 8192)
			theirs.Close()
		}()
		_, err := iscsi.Login(t.Context(), iscsi.NewConn(ours), tt.node)
		if err == nil || strings.Contains(err.Error(), "CHAP") != tt.chap {
			t.Errorf("got %v", err)
		}
	}
}

// A silent target costs no more than the context's time, and no goroutine.
func TestLoginDeadline(t *testing.T) {
	before := runtime.NumGoroutine()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		buffer := make([]byte, 4096)
		for {
			if _, err := theirs.Read(buffer); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := iscsi.Login(ctx, iscsi.NewConn(ours), node())
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 5*time.Second {
		t.Errorf("got %v after %v", err, time.Since(begin))
	}
	ours.Close()
	theirs.Close()
	for range 3000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// A target that says something all the time, one byte after the other, or text
// without end, gets no more time than the context's and no more memory than an
// honest one.
func TestLoginEndless(t *testing.T) {
	header := (&iscsi.PDU{Data: make([]byte, 8192)}).Append(nil)[:48]
	header[0], header[1], header[19] = iscsi.OpLoginResponse, 0x40, 1 // The C bit: more is to come.
	for name, say := range map[string]func(w net.Conn) error{
		"bytes": func(w net.Conn) error {
			_, err := w.Write(header)
			for err == nil {
				time.Sleep(5 * time.Millisecond)
				_, err = w.Write([]byte{'a'})
			}
			return err
		},
		"text": func(w net.Conn) error {
			pdu := append(slices.Clone(header), make([]byte, 8192)...)
			for {
				if _, err := w.Write(pdu); err != nil {
					return err
				}
			}
		},
		"lengths": func(w net.Conn) error { // 16 MiB, and additional headers.
			huge := slices.Clone(header)
			copy(huge[4:8], []byte{0xff, 0xff, 0xff, 0xff})
			_, err := w.Write(append(huge, make([]byte, 1<<16)...))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() {
				buffer := make([]byte, 16<<10)
				for {
					if _, err := theirs.Read(buffer); err != nil {
						return
					}
				}
			}()
			said := make(chan error, 1)
			go func() { said <- say(theirs) }()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			_, err := iscsi.Login(ctx, iscsi.NewConn(ours), node())
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			if err == nil || took > 5*time.Second {
				t.Errorf("got %v after %v", err, took)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2<<20 {
				t.Errorf("%d bytes were allocated", allocated)
			}
			ours.Close()
			<-said
		})
	}
}
