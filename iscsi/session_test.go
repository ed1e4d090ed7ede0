package iscsi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/iscsi/iscsitest"
)

// serve listens on the loopback interface.
func serve(t *testing.T, target *iscsitest.Target) iscsi.Portal {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go target.Listen(l)
	portal, err := iscsi.ParsePortal(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return portal
}

// write makes a file of a fake sysfs.
func write(t *testing.T, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func newKernel(t *testing.T) (*iscsi.FakeKernel, string) {
	root := t.TempDir()
	k := iscsi.NewFakeKernel(root)
	k.State = func(state string) { write(t, state+"\n", root, "sys/class/iscsi_session/session5/state") }
	return k, root
}

// Requests by their numbers in enum iscsi_uevent_e.
const (
	createSession, destroySession, createConn, destroyConn = 11, 12, 13, 14
	bind, start, stop, send, unbind                        = 15, 17, 18, 19, 27
)

func TestSession(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	target := &iscsitest.Target{User: "node", Password: "a secret of the node", UserIn: "nas", PasswordIn: "a secret of the target", StatSN: 0x01020304}
	in := withMutual()
	in.Portals = []iscsi.Portal{serve(t, target)}
	k, root := newKernel(t)

	s, err := k.Connect(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.Calls(), []uint16{createSession, createConn, bind, send, start}; !reflect.DeepEqual(got, want) {
		t.Errorf("connect: got %v, want %v", got, want)
	}
	for p, want := range map[uint32]string{
		0: "262144", 1: "262144", 14: fmt.Sprint(0x01020304 + 4), 15: targetName, 16: "1", 17: "127.0.0.1",
		18: fmt.Sprint(in.Portals[0].Port), 19: "86400", 22: "node", 23: "nas", 24: "a secret of the node", 25: "a secret of the target",
		26: "1", 27: "15", 28: "30", 30: "0", 31: "0", 32: "default", 34: nodeName, 35: "30",
	} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			if got := k.Param(p); got != want {
				t.Errorf("parameter %d: got %q, want %q", p, got, want)
			}
		})
	}

	// What iscsid cannot change.
	if b, err := os.ReadFile(filepath.Join(root, "sys/class/iscsi_session/session5/recovery_tmo")); string(b) != "86400" {
		t.Errorf("recovery_tmo: %q, %v", b, err)
	}

	k.Break()
	var broken *iscsi.ConnError
	if err := s.Watch(ctx); !errors.As(err, &broken) || broken.Code != 1020 {
		t.Errorf("watch: got %v", err)
	}
	k.State("FAILED")
	if err := s.Watch(ctx); !errors.As(err, &broken) {
		t.Errorf("watch: got %v", err)
	}
	if err := s.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := k.Calls(), []uint16{stop, bind, send, start}; !reflect.DeepEqual(got, want) {
		t.Errorf("recover: got %v, want %v", got, want)
	}
	state := filepath.Join(root, "sys/class/iscsi_connection/connection5:0/state")
	for _, taken := range []string{"up", "unknown"} {
		write(t, taken+"\n", state)
		if err := s.Recover(ctx); !errors.Is(err, iscsi.ErrTakenOver) {
			t.Errorf("recover beside another process (%s): got %v", taken, err)
		}
		if got, want := k.Calls(), []uint16{stop}; !reflect.DeepEqual(got, want) {
			t.Errorf("recover beside another process: got %v, want %v", got, want)
		}
	}
	write(t, "failed\n", state)
	if err := s.Recover(ctx); err != nil {
		t.Error(err)
	}
	k.Calls()
	if err := s.Logout(ctx); err != nil {
		t.Error(err)
	}
	if got, want := k.Calls(), []uint16{unbind, send, stop, destroyConn, destroySession}; !reflect.DeepEqual(got, want) {
		t.Errorf("logout: got %v, want %v", got, want)
	}
}

func TestConnectCleansUp(t *testing.T) {
	in := node()
	in.Portals = []iscsi.Portal{serve(t, &iscsitest.Target{Status: 0x0202}), serve(t, &iscsitest.Target{Status: 0x0301})}
	k, _ := newKernel(t)
	_, err := k.Connect(t.Context(), in)
	if !errors.Is(err, iscsi.ErrNotAuthorized) || !strings.Contains(err.Error(), in.Portals[0].String()) {
		t.Errorf("got %v", err)
	}
	if got, want := k.Calls(), []uint16{createSession, createConn, bind, send, stop, destroyConn, destroySession}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	k.Fail[createConn] = unix.ENOMEM
	if _, err = k.Connect(t.Context(), in); err == nil || !strings.Contains(err.Error(), "crc32c") {
		t.Errorf("got %v", err)
	}
	if got, want := k.Calls(), []uint16{createSession, createConn, destroySession}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPortals(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed, _ := iscsi.ParsePortal(dead.Addr().String())
	dead.Close()
	good := serve(t, &iscsitest.Target{})
	busy := serve(t, &iscsitest.Target{Status: 0x0302})
	elsewhere := serve(t, &iscsitest.Target{Name: "iqn.2013-09.org.example:other"})
	moved := serve(t, &iscsitest.Target{Status: 0x0102, Redirect: good.String() + ",1"})
	away := serve(t, &iscsitest.Target{Status: 0x0101, Redirect: good.String()})
	round := &iscsitest.Target{Status: 0x0101}
	circle := serve(t, round)
	round.Redirect = circle.String()

	for _, tt := range []struct {
		name    string
		portals []iscsi.Portal
		home    iscsi.Portal // "" is no success
		want    error
	}{
		{"second", []iscsi.Portal{closed, good}, good, nil},
		{"third", []iscsi.Portal{busy, elsewhere, good}, good, nil},
		{"moved for good", []iscsi.Portal{moved}, good, nil},
		{"moved for now", []iscsi.Portal{away}, away, nil},
		{"round in circles", []iscsi.Portal{circle}, iscsi.Portal{}, iscsi.ErrRedirects},
		{"all fail", []iscsi.Portal{closed, busy}, iscsi.Portal{}, iscsi.ErrBusy},
		{"refused", []iscsi.Portal{closed}, iscsi.Portal{}, unix.ECONNREFUSED},
		{"none", nil, iscsi.Portal{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, _ := newKernel(t)
			in := node()
			in.Portals = tt.portals
			_, err := k.Connect(t.Context(), in)
			if (err == nil) != (tt.home != iscsi.Portal{}) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("got %v", err)
			}
			if got, want := k.Param(18), fmt.Sprint(tt.home.Port); err == nil && got != want {
				t.Errorf("iscsid will go to port %s, want %s", got, want)
			}
		})
	}
}

func TestSilentTarget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	k, _ := newKernel(t)
	in := node()
	portal, _ := iscsi.ParsePortal(l.Addr().String())
	in.Portals = []iscsi.Portal{portal}
	in.Timeouts.Dial, in.Timeouts.Login = 50*time.Millisecond, 50*time.Millisecond
	_, err = k.Connect(t.Context(), in)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "is the server up") {
		t.Errorf("got %v", err)
	}
}

// A target that is gone must not hold up a shutdown.
func TestLogoutWithoutTarget(t *testing.T) {
	for name, broken := range map[string]func(k *iscsi.FakeKernel){
		"known":   func(k *iscsi.FakeKernel) { k.Break(); k.State("FAILED") },
		"unknown": func(k *iscsi.FakeKernel) { k.Mute = true },
		"midway":  func(k *iscsi.FakeKernel) { k.Mute = true; k.Break() },
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := newKernel(t)
			in := node()
			in.Portals = []iscsi.Portal{serve(t, &iscsitest.Target{})}
			in.Timeouts.Logout = 50 * time.Millisecond
			s, err := k.Connect(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			broken(k)
			begin := time.Now()
			if err := s.Logout(t.Context()); err == nil || time.Since(begin) > 2*time.Second {
				t.Errorf("got %v after %v", err, time.Since(begin))
			}
			if calls := k.Calls(); calls[len(calls)-1] != destroySession {
				t.Errorf("got %v", calls)
			}
		})
	}
}

func TestWatch(t *testing.T) {
	k, root := newKernel(t)
	in := node()
	in.Portals = []iscsi.Portal{serve(t, &iscsitest.Target{})}
	first, err := k.Connect(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.Adopt(in, first.ID()) // as the keeper does
	if err != nil {
		t.Fatal(err)
	}
	pdu := func(opcode, event byte) iscsi.PDU {
		var p iscsi.PDU
		p.Header[0], p.Header[36] = opcode, event
		return p
	}
	k.Deliver(pdu(iscsi.OpNopIn, 0))
	k.Deliver(pdu(iscsi.OpAsync, 0)) // SCSI sense
	k.Overrun()
	k.Deliver(pdu(iscsi.OpAsync, 1))
	var async *iscsi.AsyncError
	if err := s.Watch(t.Context()); !errors.As(err, &async) || async.Event != 1 {
		t.Errorf("got %v", err)
	}
	k.Deliver(pdu(iscsi.OpLoginResponse, 0))
	if err := s.Watch(t.Context()); !errors.Is(err, iscsi.ErrTakenOver) {
		t.Errorf("got %v", err)
	}
	if err := os.RemoveAll(filepath.Join(root, "sys")); err != nil {
		t.Fatal(err)
	}
	k.Overrun()
	if err := s.Watch(t.Context()); !errors.Is(err, iscsi.ErrGone) {
		t.Errorf("got %v", err)
	}
	if _, err := k.Adopt(in, first.ID()); !errors.Is(err, iscsi.ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestOpenWithoutModule(t *testing.T) {
	if _, err := iscsi.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "iscsi_tcp") {
		t.Errorf("got %v", err)
	}
}
