package resident

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/rwlayer"
)

func testSession(t *testing.T) Session {
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
	return Session{Target: target, ID: iscsi.ID{Session: 3, Host: 2}, Disk: 0x801, Key: 1 << 63}
}

// A fakeWatcher hands out what Watch and Recover have to say, one by one.
type fakeWatcher struct {
	watch, recover []error
	recovered      int
	abandoned      int
	skipped        error
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
func (f *fakeWatcher) AdmitSkipped() error    { return f.skipped }

// A reservation waits in the kernel for as long as the connection is down. The
// keeper must not wait with it: it is the one to mend that.
func TestKeeperDoesNotWaitForReservation(t *testing.T) {
	broken := &iscsi.ConnError{Code: 1020}
	session := &fakeWatcher{watch: []error{broken, broken, iscsi.ErrGone}, recover: []error{nil, nil}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stuck := make(chan struct{})
	asked := make(chan struct{}, 8)
	k := keep(session, testLog{t})
	k.holder.Reserve = func() error {
		asked <- struct{}{}
		<-stuck
		return nil
	}
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
	const tries = 6 // Then it counts.
	repeat := func(err error) (all []error) {
		for range tries {
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
			k := keep(session, testLog{t})
			k.holder.Reserve = func() error {
				err := tries[0]
				tries = tries[1:]
				return err
			}
			k.holder.Release = func() error { gaveBack++; return nil }
			if tt.logins == nil {
				k.holder.Hold()
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
	if state.Stamp, err = readStamp(disk); err != nil || state.Stamp == "" {
		t.Fatalf("%q, %v", state.Stamp, err)
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
	state.Stamp = ""
	if a, err = newAdmission("/nowhere", &state); err != nil || a.disk != nil || len(a.stamps) != 0 {
		t.Errorf("a file system without stamps: %+v, %v", a, err)
	}
}

// A target redirects its nodes to a name. The keeper finds its address by the
// servers of the lease, and else by what it knew.
func TestNames(t *testing.T) {
	state := testSession(t)
	state.Names = &PortalNames{known: map[string]netip.Addr{"portal.example": netip.MustParseAddr("10.0.0.9")}}
	state.Names.resolver.Servers = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	state.Names.resolver.Search = []string{"example", "example.org"}
	got, err := decodeSession(string(state.encode(false)))
	if err != nil || got.Target.Resolve == nil {
		t.Fatalf("%v, resolves: %v", err, got.Target.Resolve != nil)
	}
	if r := got.Names.resolver; !reflect.DeepEqual(r.Servers, state.Names.resolver.Servers) || !reflect.DeepEqual(r.Search, state.Names.resolver.Search) {
		t.Errorf("got %+v", r)
	}
	got.Names.resolver.Port = 1 // No server answers there.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if addr, err := got.Target.Resolve(ctx, "portal.example"); err != nil || addr.String() != "10.0.0.9" {
		t.Errorf("got %v, %v", addr, err)
	}
	if addr, err := got.Target.Resolve(ctx, "other.example"); err == nil {
		t.Errorf("an unknown name has the address %v", addr)
	}
	if addr, err := got.Target.Resolve(ctx, "10.0.0.1"); err != nil || addr.String() != "10.0.0.1" {
		t.Errorf("an address: %v, %v", addr, err)
	}
}
