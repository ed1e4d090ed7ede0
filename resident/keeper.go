package resident

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

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
func work(log Log, text string, guard *peer) error {
	state, err := decodeResident(text)
	if err != nil {
		return err
	}
	var k *keeper
	if state.Session != nil {
		k, err = newKeeper(state.Session, log)
		if errors.Is(err, iscsi.ErrGone) { // Before this process was there.
			log.Noticef("the session of the volume has ended")
		} else if err != nil {
			return err
		}
	}
	if err := guard.say(ready); err != nil { // It has ended meanwhile, and is started again.
		log.Errorf("%v", err)
	}
	current, starter := &currentPeer{p: guard}, newStarter(GuardName, text, log)
	log.Background(func() error {
		starter.attend(guard, current.set)
		return nil
	})
	var writing sync.Mutex // Several leases may be renewed at the same time.
	leave := func() {
		writing.Lock()
		defer writing.Unlock()
		log.Error(writeLeases(starter.known()))
	}
	leave()
	for _, lease := range state.Leases {
		lease.OnRenewal = func() {
			line := leaseLine + lease.String() + "\n"
			starter.learn(line)
			leave()
			_ = current.say(line) // A guard that has ended is told by the starter.
		}
		log.Background(func() error { return keepLease(lease, log) })
	}
	log.Background(func() error { return lookAfter(state.Second, log) })
	log.Background(func() error { return awaitUpdates(log) })
	if k != nil {
		if err := k.run(); err != nil {
			return err // The guard starts another one.
		}
	}
	clock.SleepForever()
	return nil
}

// keepLease renews a lease for as long as the node runs. Whatever a server finds
// to stumble over must not take the session's keeper with it.
func keepLease(lease *network.LeaseState, log Log) error {
	for {
		log.Error(panics.Call(func() error {
			lease.Renew(context.Background(), log.Errorf)
			return nil
		}))
		time.Sleep(time.Minute)
	}
}

// A keeper keeps the node's session and volume.
type keeper struct {
	session session
	login   *iscsi.Keeper
	holder  *rwlayer.Holder
	log     Log
	// reserving says that the volume is being reserved.
	reserving atomic.Bool
}

// A session is an iscsi.Session as the keeper needs it.
type session interface {
	Watch(ctx context.Context) error
	Recover(ctx context.Context) error
	State() (string, error)
	Abandon() error
	AdmitSkipped() error
}

// newKeeper takes the session over.
func newKeeper(s *Session, log Log) (*keeper, error) {
	// The tree's /dev is on its way elsewhere.
	const disk = "/dev/volume"
	if err := os.Remove(disk); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // Of a keeper before this one.
	}
	if err := unix.Mknod(disk, unix.S_IFBLK|0o600, int(s.Disk)); err != nil {
		return nil, fmt.Errorf("keeper: mknod: %w", err)
	}
	admission, err := newAdmission(disk, s)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	s.Target.Admit = admission.admit
	session, err := s.adopt()
	if err != nil {
		return nil, err
	}
	k := keep(session, log)
	k.login.OtherOwner = iscsi.IscsidRuns
	k.holder.Reserve = func() error { return reserveAgain(disk, s.Key) }
	k.holder.Release = func() error { return rwlayer.ReleaseBySession(session, s.Key) }
	return k, nil
}

// keep connects what looks after the session with what looks after the volume.
func keep(s session, log Log) *keeper {
	k := &keeper{session: s, log: log, holder: &rwlayer.Holder{Session: s, Logf: log.Errorf}}
	k.login = &iscsi.Keeper{Session: s, LoggedIn: k.reserveSoon, Refused: k.holder.Refused, Logf: log.Errorf}
	return k
}

// run watches the session until it is gone, and the end of the node.
func (k *keeper) run() error {
	orders, watchFailed, err := watchOrders("/" + orderDir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched := panics.Go(func() error { return k.watch(ctx) })
	// A target that was restarted while the node booted may have forgotten.
	k.reserveSoon()
	e := &ending{k: k, orders: orders, watchFailed: watchFailed, stop: cancel, watched: watched, hurry: k.login.Hurry, now: clock.Uptime, act: force, ask: rearm}
	if o := openOrder("/" + orderDir); o != "" { // Given to a keeper before this one.
		e.setOrder(o)
	}
	return e.await()
}

// watch keeps the session logged in until it is gone or ctx ends.
func (k *keeper) watch(ctx context.Context) error {
	err := k.login.Run(ctx)
	if errors.Is(err, iscsi.ErrGone) {
		k.log.Noticef("the session of the volume has ended")
		return nil
	}
	return err
}

// reserveSoon reserves the volume in the background. The kernel holds the
// commands back while the connection is down: who waited for them could not log
// in again, and they would wait for that.
func (k *keeper) reserveSoon() {
	if !k.reserving.CompareAndSwap(false, true) {
		return // It waits for this login.
	}
	k.log.Background(func() error {
		defer k.reserving.Store(false)
		k.holder.Hold()
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
