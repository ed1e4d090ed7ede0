package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
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
	unasked        error
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
func (f *fakeWatcher) Unasked() error         { return f.unasked }

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
		{"another process logs in meanwhile", fakeWatcher{watch: []error{broken, iscsi.ErrGone}, recover: []error{&iscsi.KernelError{Op: "bind", Err: iscsi.ErrTakenOver}}}, nil, 1, true},
		{"the target refuses the check", fakeWatcher{watch: []error{broken, iscsi.ErrGone}, recover: []error{nil}, unasked: errors.New("one session only")}, nil, 1, true},
	} {
		iscsid := tt.iscsid
		if iscsid == nil {
			iscsid = func() bool { return false }
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var reserved atomic.Int32
		k := &keeper{session: &tt.session, log: &bootlog.Logger{Name: "keeper"}, iscsid: iscsid, reserve: func() error { reserved.Add(1); return nil }}
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
	k := &keeper{session: session, log: &bootlog.Logger{Name: "keeper"}, iscsid: func() bool { return true }, reserve: func() error {
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
	k := &keeper{session: session, log: &bootlog.Logger{Name: "keeper"}, iscsid: func() bool { return false }, reserve: func() error {
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

// A node whose volume another has taken lets go of it, and gives back its keys,
// before it writes anything. One that has only met a booting node does not, and
// what fails otherwise is tried again.
func TestKeeperLetsGo(t *testing.T) {
	t.Parallel()
	held, busy := &rwlayer.HeldError{Holder: 2, Own: 1}, errors.New("the target is busy")
	admit := func(err error) error { return &iscsi.AdmitError{Err: err} }
	broken := &iscsi.ConnError{Code: 1020}
	repeat := func(err error) (all []error) {
		for range heldTries {
			all = append(all, err)
		}
		return all
	}
	for _, tt := range []struct {
		name string
		// tries are what the reservation has to say, or, before the session is
		// started, the new login.
		tries, logins []error
		want          int
	}{
		{"taken", repeat(held), nil, 1},
		{"met", []error{held, held, nil}, nil, 0},
		{"another error", []error{busy, busy, nil}, nil, 0},
		{"found at the login", nil, repeat(admit(held)), 1},
		{"met at the login", []error{nil}, []error{admit(held), admit(held), nil}, 0},
		{"mounted by another", nil, []error{admit(rwlayer.ErrTaken)}, 1},
		{"an empty volume in its place", []error{nil}, []error{admit(rwlayer.ErrReplaced), nil}, 0},
		{"cannot look yet", []error{nil}, []error{admit(busy), nil}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			session := &fakeWatcher{recover: tt.logins}
			tries, gaveBack := tt.tries, 0
			k := &keeper{session: session, log: &bootlog.Logger{Name: "keeper"}, iscsid: func() bool { return false }, reserve: func() error {
				err := tries[0]
				tries = tries[1:]
				return err
			}, giveBack: func() error { gaveBack++; return nil }}
			if tt.logins == nil {
				k.hold()
			} else {
				session.watch = []error{broken, iscsi.ErrGone}
				if err := k.watch(t.Context()); err != nil {
					t.Error(err)
				}
			}
			for k.reserving.Load() {
				time.Sleep(time.Millisecond)
			}
			if session.abandoned != tt.want || gaveBack != tt.want || len(tries) > 0 || len(session.recover) > 0 {
				t.Errorf("abandoned %d times, gave back %d times, want %d; %d tries and %d logins left",
					session.abandoned, gaveBack, tt.want, len(tries), len(session.recover))
			}
		})
	}
}

// Before a login the keeper looks at the volume's stamp, knows what its own
// kernel has made of it, and does not wait for a disk that is gone.
func TestAdmissionKnowsItsOwn(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	write := func(count byte) {
		t.Helper()
		b := make([]byte, 4096)
		b[1024+0x34], b[1024+0x38], b[1024+0x39] = count, 0x53, 0xef
		if err := os.WriteFile(disk, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	state := testSession(t)
	var err error
	if state.stamp, err = readStamp(disk); err != nil || state.stamp == "" {
		t.Fatalf("%q, %v", state.stamp, err)
	}
	a, err := newAdmission(disk, &state)
	if err != nil {
		t.Fatal(err)
	}
	a.refresh()
	write(2) // A remount.
	a.refresh()
	a.refresh()
	if len(a.stamps) != 2 {
		t.Errorf("stamps %q", a.stamps)
	}
	r, w, err := os.Pipe() // Which cannot be read at a place, and says nothing.
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	a.disk = r
	a.refresh()
	if len(a.stamps) != 2 {
		t.Errorf("stamps %q", a.stamps)
	}
	state.stamp = ""
	if a, err = newAdmission("/nowhere", &state); err != nil || a.disk != nil || len(a.stamps) != 0 {
		t.Errorf("a file system without stamps: %+v, %v", a, err)
	}
}

// A target redirects its nodes to a name. The keeper finds its address by the
// servers of the lease, and else by what it knew.
func TestNames(t *testing.T) {
	state := testSession(t)
	state.names = &names{known: map[string]netip.Addr{"portal.example": netip.MustParseAddr("10.0.0.9")}}
	state.names.resolver.Servers = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	state.names.resolver.Search = []string{"example", "example.org"}
	got, err := decodeSession(string(state.encode(false)))
	if err != nil || got.target.Resolve == nil {
		t.Fatalf("%v, resolves: %v", err, got.target.Resolve != nil)
	}
	if r := got.names.resolver; !reflect.DeepEqual(r.Servers, state.names.resolver.Servers) || !reflect.DeepEqual(r.Search, state.names.resolver.Search) {
		t.Errorf("got %+v", r)
	}
	got.names.resolver.Port = 1 // No server answers there.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if addr, err := got.target.Resolve(ctx, "portal.example"); err != nil || addr.String() != "10.0.0.9" {
		t.Errorf("got %v, %v", addr, err)
	}
	if addr, err := got.target.Resolve(ctx, "other.example"); err == nil {
		t.Errorf("an unknown name has the address %v", addr)
	}
	if addr, err := got.target.Resolve(ctx, "10.0.0.1"); err != nil || addr.String() != "10.0.0.1" {
		t.Errorf("an address: %v, %v", addr, err)
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
