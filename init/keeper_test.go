package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

func testSession(t *testing.T) sessionState {
	t.Helper()
	target := iscsi.Target{
		Name: "iqn.2013-09.org.sidusboot:10.77.0.11", Initiator: "iqn.2013-09.org.sidusboot:52:54:00:77:00:01", LUN: 7,
		ISID: iscsi.ISID{0x80, 0, '\n', '"', 0xff, 1}, User: "node", Password: "with \"quotes\"\nand a line",
		UserIn: "nas", PasswordIn: "another secret",
	}
	for _, p := range []string{"10.77.0.1:3260", "[fd00::1]:3261"} {
		portal, err := iscsi.ParsePortal(p)
		if err != nil {
			t.Fatal(err)
		}
		target.Portals = append(target.Portals, portal)
	}
	return sessionState{target: target, id: iscsi.ID{Session: 3, Host: 2}, disk: 0x801, key: 1 << 63}
}

// A fakeWatcher hands out what Watch and Recover have to say, one by one.
type fakeWatcher struct {
	watch, recover []error
	recovered      int
}

func (f *fakeWatcher) Watch(context.Context) error {
	err := f.watch[0]
	f.watch = f.watch[1:]
	return err
}

func (f *fakeWatcher) Recover(context.Context) error {
	f.recovered++
	err := f.recover[0]
	f.recover = f.recover[1:]
	return err
}

func TestKeeper(t *testing.T) {
	broken := &iscsi.ConnError{Code: 1020}
	for _, tt := range []struct {
		name    string
		session fakeWatcher
		iscsid  func() bool
		want    int
		// reserved is how often the volume is reserved again.
		reserved int
	}{
		{"logs in until it succeeds", fakeWatcher{watch: []error{broken, iscsi.ErrGone}, recover: []error{errors.New("refused"), nil}}, nil, 2, 1},
		{"again and again", fakeWatcher{watch: []error{broken, broken, iscsi.ErrGone}, recover: []error{nil, nil}}, nil, 2, 2},
		{"ends with the session", fakeWatcher{watch: []error{iscsi.ErrGone}}, nil, 0, 0},
		{"gone while recovering", fakeWatcher{watch: []error{broken, iscsi.ErrGone}, recover: []error{iscsi.ErrGone}}, nil, 1, 0},
	} {
		iscsid := tt.iscsid
		if iscsid == nil {
			iscsid = func() bool { return false }
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		reserved := 0
		k := &keeper{session: &tt.session, log: &logger{name: "keeper"}, iscsid: iscsid, reserve: func() error { reserved++; return nil }}
		if err := k.watch(ctx); err != nil || ctx.Err() != nil || tt.session.recovered != tt.want {
			t.Errorf("%s: watch = %v after %d recoveries, want %d", tt.name, err, tt.session.recovered, tt.want)
		}
		if reserved != tt.reserved {
			t.Errorf("%s: reserved %d times, want %d", tt.name, reserved, tt.reserved)
		}
		cancel()
	}
}

// While the tree's iscsid runs the session is its own: two who log in on one
// session can bring the kernel down.
func TestKeeperStandsAside(t *testing.T) {
	session := &fakeWatcher{watch: []error{&iscsi.ConnError{Code: 1020}, iscsi.ErrGone}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	k := &keeper{session: session, log: &logger{name: "keeper"}, iscsid: func() bool { return true }}
	if err := k.watch(ctx); err != nil || session.recovered != 0 {
		t.Errorf("watch = %v after %d recoveries, want none", err, session.recovered)
	}
}
