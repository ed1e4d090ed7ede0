package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/rwlayer"
)

func testSession(t *testing.T) sessionState {
	t.Helper()
	target := iscsi.Target{
		Name: "iqn.2013-09.org.sidusboot:10.77.0.11", Initiator: "iqn.2013-09.org.sidusboot:52:54:00:77:00:01", LUN: 7,
		ISID: iscsi.ISID{0x80, 0, '\n', '"', 0xff, 1}, User: "node", Password: "with \"quotes\"\nand a line",
		UserIn: "nas", PasswordIn: "another secret", CHAP: []iscsi.Algorithm{iscsi.SHA256, iscsi.MD5},
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
	abandoned      int
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

func (f *fakeWatcher) State() (string, error) { return iscsi.LoggedIn, nil }
func (f *fakeWatcher) Abandon() error         { f.abandoned++; return nil }

func TestKeeper(t *testing.T) {
	broken := &iscsi.ConnError{Code: 1020}
	for _, tt := range []struct {
		name    string
		session fakeWatcher
		iscsid  func() bool
		want    int
		// reserved says that the volume is reserved again.
		reserved bool
	}{
		{"logs in until it succeeds", fakeWatcher{watch: []error{broken, iscsi.ErrGone}, recover: []error{errors.New("refused"), nil}}, nil, 2, true},
		{"again and again", fakeWatcher{watch: []error{broken, broken, iscsi.ErrGone}, recover: []error{nil, nil}}, nil, 2, true},
		{"ends with the session", fakeWatcher{watch: []error{iscsi.ErrGone}}, nil, 0, false},
		{"gone while recovering", fakeWatcher{watch: []error{broken, iscsi.ErrGone}, recover: []error{iscsi.ErrGone}}, nil, 1, false},
	} {
		iscsid := tt.iscsid
		if iscsid == nil {
			iscsid = func() bool { return false }
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var reserved atomic.Int32
		k := &keeper{session: &tt.session, log: &logger{name: "keeper"}, iscsid: iscsid, reserve: func() error { reserved.Add(1); return nil }}
		if err := k.watch(ctx); err != nil || ctx.Err() != nil || tt.session.recovered != tt.want {
			t.Errorf("%s: watch = %v after %d recoveries, want %d", tt.name, err, tt.session.recovered, tt.want)
		}
		for k.reserving.Load() {
			time.Sleep(time.Millisecond)
		}
		if got := int(reserved.Load()); (got > 0) != tt.reserved {
			t.Errorf("%s: reserved %d times, want some: %v", tt.name, got, tt.reserved)
		}
		cancel()
	}
}

// While the tree's iscsid runs the session is its own: two who log in on one
// session can bring the kernel down. The reservation remains the keeper's.
func TestKeeperStandsAside(t *testing.T) {
	session := &fakeWatcher{watch: []error{&iscsi.ConnError{Code: 1020}, iscsi.ErrGone}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	reserved := make(chan struct{}, 1)
	k := &keeper{session: session, log: &logger{name: "keeper"}, iscsid: func() bool { return true }, reserve: func() error {
		reserved <- struct{}{}
		return nil
	}}
	k.hurry.Store(true) // No long pauses in a test.
	if err := k.watch(ctx); err != nil || session.recovered != 0 {
		t.Errorf("watch = %v after %d recoveries, want none", err, session.recovered)
	}
	select {
	case <-reserved:
	case <-ctx.Done():
		t.Error("the volume is not reserved again when iscsid has logged in")
	}
}

// A reservation waits in the kernel for as long as the connection is down. The
// keeper must not wait with it: it is the one to mend that.
func TestKeeperDoesNotWaitForReservation(t *testing.T) {
	broken := &iscsi.ConnError{Code: 1020}
	session := &fakeWatcher{watch: []error{broken, broken, iscsi.ErrGone}, recover: []error{nil, nil}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stuck := make(chan struct{})
	asked := make(chan struct{}, 8)
	k := &keeper{session: session, log: &logger{name: "keeper"}, iscsid: func() bool { return false }, reserve: func() error {
		asked <- struct{}{}
		<-stuck
		return nil
	}}
	if err := k.watch(ctx); err != nil || ctx.Err() != nil || session.recovered != 2 {
		t.Errorf("watch = %v after %d recoveries, want 2", err, session.recovered)
	}
	<-asked
	close(stuck)
	if len(asked) != 0 {
		t.Error("a second reservation was asked for while the first one waited")
	}
}

// A node whose volume another has taken lets go of it. Two that have only met
// come again.
func TestKeeperLetsGo(t *testing.T) {
	t.Parallel()
	held := &rwlayer.HeldError{Holder: 2, Own: 1}
	for _, tt := range []struct {
		name  string
		tries []error
		want  int
	}{
		{"taken", []error{held, held, held, held}, 1},
		{"met", []error{held, nil}, 0},
		{"another error", []error{errors.New("no answer")}, 0},
	} {
		session := &fakeWatcher{}
		tries := tt.tries
		k := &keeper{session: session, log: &logger{name: "keeper"}, reserve: func() error {
			err := tries[0]
			tries = tries[1:]
			return err
		}}
		k.hold()
		if session.abandoned != tt.want || len(tries) > 0 {
			t.Errorf("%s: abandoned %d times, want %d; %d tries left", tt.name, session.abandoned, tt.want, len(tries))
		}
	}
}

// The keeper stands aside for root's iscsid in its own network namespace, and
// for nothing that only bears the name.
func TestRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("starts processes of other users, which needs root")
	}
	t.Parallel()
	const name = "iscsid-of-test"
	program := filepath.Join(t.TempDir(), name)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := copyFile(sleep, program); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(program); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		attr syscall.SysProcAttr
		want bool
	}{
		{"root's", syscall.SysProcAttr{}, true},
		{"a user's", syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, false},
		{"a container's", syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}, false},
	} {
		cmd := exec.Command(program, "60")
		cmd.SysProcAttr = &tt.attr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if got := runs(name)(); got != tt.want {
			t.Errorf("%s: runs = %v, want %v", tt.name, got, tt.want)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	}
	if runs(name)() {
		t.Error("it runs after its end")
	}
}
