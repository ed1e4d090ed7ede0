package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// work is the resident process that works: it renews the node's leases, watches
// its iSCSI session and logs in again whenever the connection is lost. It
// touches neither / nor /ro nor /rw: its root is residentDir. guard is who
// started it, and is started again when that ends.
func work(log *bootlog.Logger, text string, guard *peer) error {
	state, err := decodeResident(text)
	if err != nil {
		return err
	}
	var k *keeper
	if state.session != nil {
		k, err = newKeeper(state.session, log)
		if errors.Is(err, iscsi.ErrGone) { // Before this process was there.
			log.Noticef("the session is gone, nothing is left to keep")
		} else if err != nil {
			return err
		}
	}
	if err := guard.say(ready); err != nil { // It has ended meanwhile, and is started again.
		log.Errorf("%v", err)
	}
	current, starter := &currentPeer{p: guard}, newStarter(guardName, text, log)
	log.Background(func() error {
		starter.attend(guard, current.set)
		return nil
	})
	for _, lease := range state.leases {
		lease.Renewed = func() {
			line := leaseLine + lease.String() + "\n"
			starter.learn(line)
			_ = current.say(line) // A guard that has ended is told by the starter.
		}
		log.Background(func() error { return keepLease(lease, log) })
	}
	if k != nil {
		if err := k.run(); err != nil {
			return err // The guard starts another one.
		}
	}
	if len(state.leases) > 0 {
		sleepForever()
	}
	return current.say(over)
}

// keepLease renews a lease for as long as the node runs. Whatever a server finds
// to stumble over must not take the session's keeper with it.
func keepLease(lease *network.Tenancy, log *bootlog.Logger) error {
	for {
		log.Error(panics.Call(func() error {
			lease.Keep(context.Background(), log.Errorf)
			return nil
		}))
		time.Sleep(time.Minute)
	}
}

// newKeeper takes the session over.
func newKeeper(s *sessionState, log *bootlog.Logger) (*keeper, error) {
	// The tree's /dev is on its way elsewhere.
	const disk = "/dev/volume"
	if err := os.Remove(disk); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // Of a keeper before this one.
	}
	if err := unix.Mknod(disk, unix.S_IFBLK|0o600, int(s.disk)); err != nil {
		return nil, fmt.Errorf("keeper: mknod: %w", err)
	}
	admission, err := newAdmission(disk, s)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	s.target.Admit = admission.admit
	session, err := s.adopt()
	if err != nil {
		return nil, err
	}
	return &keeper{
		session: session, log: log, iscsid: runs("iscsid"),
		reserve: func() error { return reserveAgain(disk, s.key) }, giveBack: giveBack(session, s.key),
	}, nil
}

// run watches the session until it is gone, and the end of the node.
func (k *keeper) run() error {
	orders, unheard, err := watchOrders("/" + orderDir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched := panics.Go(func() error { return k.watch(ctx) })
	// A target that was restarted while the node booted may have forgotten.
	k.reserveSoon()
	e := &ending{k: k, orders: orders, unheard: unheard, stop: cancel, watched: watched, now: clock.Uptime, act: force, ask: rearm}
	if o := openOrder("/" + orderDir); o != "" { // Given to a keeper before this one.
		e.hear(o)
	}
	return e.await()
}

// A watcher is a session as the keeper needs it.
type watcher interface {
	Watch(ctx context.Context) error
	Recover(ctx context.Context) error
	State() (string, error)
	Abandon() error
	Unasked() error
}

type keeper struct {
	session watcher
	log     *bootlog.Logger
	// iscsid tells whether the tree's own daemon runs, which owns the session
	// then.
	iscsid func() bool
	// reserve takes the volume's reservation again: a target that was restarted
	// may have forgotten it.
	reserve func() error
	// giveBack takes back what this node has at its target.
	giveBack func() error
	// unasked is the last message about a target that refuses the check.
	unasked string
	// reserving says that it is being done.
	reserving atomic.Bool
	// hurry says that the node is about to end: no long pauses any more.
	hurry atomic.Bool
}

// reserveSoon reserves the volume on the side. The kernel holds the commands
// back while the connection is down: who waited for them could not log in
// again, and they would wait for that.
func (k *keeper) reserveSoon() {
	if !k.reserving.CompareAndSwap(false, true) {
		return // It waits for this login.
	}
	k.log.Background(func() error {
		defer k.reserving.Store(false)
		k.hold()
		return nil
	})
}

func reserveAgain(disk string, key rwlayer.Key) error {
	f, err := os.OpenFile(disk, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = rwlayer.Hold(f, key)
	if errors.Is(err, rwlayer.ErrNoReservations) || errors.Is(err, rwlayer.ErrNotPersistent) {
		return nil // Said at boot.
	}
	return err
}

// heldTries and heldPause are how often another node must be found to have the
// volume before that counts. One that is booting sees this node's key and
// goes.
const (
	heldTries = 6
	heldPause = 2 * time.Second
)

// hold reserves the volume. Where another node has taken it, this one must not
// write to it any more: what its kernel remembers of the volume is no longer
// true. A reservation that fails otherwise is tried again for as long as there
// is a session.
func (k *keeper) hold() {
	said, held := "", 0
	for pause := firstRecover; ; pause = min(2*pause, maxRecover) {
		err := k.reserve()
		if err == nil {
			return
		}
		if text := err.Error(); text != said {
			k.log.Errorf("reserve the volume again: %v", err)
			said = text
		}
		var other *rwlayer.HeldError
		if !errors.As(err, &other) {
			held = 0
		} else if held++; held == heldTries {
			k.letGo()
			return
		} else {
			pause = heldPause
		}
		if _, err := k.session.State(); errors.Is(err, iscsi.ErrGone) {
			return
		}
		time.Sleep(jitter(pause))
	}
}

// letGo ends the session, so that nothing that this node has not written yet
// reaches the volume, and takes back the keys, which would keep out who has it.
func (k *keeper) letGo() {
	k.log.Errorf("ANOTHER NODE HAS TAKEN THE VOLUME: this one lets go of it, and what it has not written yet is lost; see to it that only one node is given this volume, and reboot this one")
	if err := k.session.Abandon(); err != nil && !errors.Is(err, iscsi.ErrGone) {
		k.log.Errorf("%v", err)
	}
	if err := k.giveBack(); err != nil {
		k.log.Errorf("this node's key stays with the target: %v", err)
	}
}

const (
	firstRecover = time.Second
	maxRecover   = 15 * time.Second
	// oneRecover bounds one round over the portals.
	oneRecover = 30 * time.Second
	// standBy is how often the keeper looks whether iscsid still runs.
	standBy = 5 * time.Second
	// otherLogin is what another process gets that logs in on the session.
	otherLogin = 30 * time.Second
)

// watch keeps the session until it is gone or ctx ends.
func (k *keeper) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		err := k.session.Watch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, iscsi.ErrDeaf):
			return err
		case errors.Is(err, iscsi.ErrGone):
			k.log.Noticef("the session is gone, nothing is left to keep")
			return nil
		case errors.Is(err, iscsi.ErrTakenOver):
			k.standAside(ctx)
			continue
		case k.iscsid():
			// Ours again when iscsid has ended, as it does at shutdown. Of
			// reservations it knows nothing.
			k.wait(ctx, standBy)
			if state, err := k.session.State(); err == nil && state == iscsi.LoggedIn {
				k.reserveSoon()
			}
			continue
		}
		k.log.Errorf("%v; logging in again", err)
		if err := k.recover(ctx); errors.Is(err, iscsi.ErrTakenOver) {
			k.standAside(ctx)
		}
	}
	return nil
}

// standAside lets another process log in on the session. A login of ours would
// end its connection.
func (k *keeper) standAside(ctx context.Context) {
	for waited := time.Duration(0); waited < otherLogin && ctx.Err() == nil; waited += time.Second {
		k.wait(ctx, time.Second)
		if k.hurry.Load() {
			return
		}
		switch state, err := k.session.State(); {
		case errors.Is(err, iscsi.ErrGone):
			return
		case err == nil && state == iscsi.LoggedIn:
			k.reserveSoon()
			return
		}
	}
}

// recover logs in again until it succeeds, another process takes over, which is
// iscsi.ErrTakenOver, the volume is another node's, or ctx ends.
func (k *keeper) recover(ctx context.Context) error {
	start := time.Now()
	said, held := "", 0
	for pause := firstRecover; ctx.Err() == nil; pause = min(2*pause, maxRecover) {
		if k.iscsid() {
			return nil
		}
		one, cancel := context.WithTimeout(ctx, oneRecover)
		err := k.session.Recover(one)
		cancel()
		switch {
		case err == nil:
			k.log.Errorf("logged in again after %v", time.Since(start).Round(time.Second/10))
			if why := k.session.Unasked(); why != nil && why.Error() != k.unasked {
				k.unasked = why.Error()
				k.log.Errorf("the target lets nobody look who has the volume before this node writes to it again: %v", why)
			}
			k.reserveSoon()
			return nil
		case errors.Is(err, iscsi.ErrGone), ctx.Err() != nil:
			return nil
		case errors.Is(err, iscsi.ErrTakenOver):
			return err
		case errors.Is(err, rwlayer.ErrTaken):
			k.letGo()
			return nil
		}
		var other *rwlayer.HeldError
		if !errors.As(err, &other) {
			held = 0
		} else if held++; held == heldTries {
			k.letGo()
			return nil
		} else {
			pause = heldPause
		}
		if text := err.Error(); text != said {
			k.log.Errorf("%s; trying on", text)
			said = text
		}
		k.wait(ctx, jitter(pause))
	}
	return nil
}

// wait pauses for d, or for a second when there is hurry.
func (k *keeper) wait(ctx context.Context, d time.Duration) {
	const step = time.Second
	for ; d > 0 && ctx.Err() == nil; d -= step {
		select {
		case <-ctx.Done():
		case <-time.After(min(d, step)):
		}
		if k.hurry.Load() {
			return
		}
	}
}

// runs returns a function that tells whether a process of this name runs that
// can reach the node's sessions: one of root's, in this network namespace. Any
// user can give a process any name, and a container may have an iscsid of its
// own.
func runs(name string) func() bool {
	return func() bool {
		own, err := os.Readlink("/proc/self/ns/net")
		names, _ := filepath.Glob("/proc/[0-9]*/comm")
		for _, path := range names {
			b, readErr := os.ReadFile(path)
			if readErr != nil || strings.TrimSpace(string(b)) != name {
				continue
			}
			dir := filepath.Dir(path)
			var st unix.Stat_t
			if unix.Stat(dir, &st) != nil || st.Uid != 0 {
				continue
			}
			if net, netErr := os.Readlink(dir + "/ns/net"); err != nil || netErr != nil || net == own {
				return true
			}
		}
		return false
	}
}
