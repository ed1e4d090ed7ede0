package resident

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/panics"
)

// Times of a node that is to end without its target. All of it has to fit in
// 60 s from the order on, with the 15 s that a ping takes to find out.
const (
	// orderPatience is how long after the order a login is still tried, and
	// breakPatience how long after the connection broke, if that is later.
	orderPatience = 20 * time.Second
	breakPatience = 15 * time.Second
	// actPatience is how long after the session was given up the node may go on
	// shutting down before the keeper carries out the verb itself.
	actPatience = 25 * time.Second
)

// An ending is what the keeper does about the node's end. While the session is
// well that is nothing, however long the node takes.
type ending struct {
	k      *keeper
	orders <-chan order
	// stop ends the keeper's watch, and watched tells that it has ended.
	stop    context.CancelFunc
	watched <-chan error
	// watchFailed gives the error that ends the watch for orders.
	watchFailed <-chan error

	// hurry sets whether the keeper makes long pauses.
	hurry func(bool)
	now   func() time.Duration
	// act carries out a verb.
	act func(log Log, verb string)

	// ask asks systemd to take an order back, which it does where it does not
	// work on it any more. askAt is when, and asking says that it is being done.
	ask    func(verb string) error
	askAt  time.Duration
	asking atomic.Bool

	verb order
	// ordered, broken and gaveUp are when these happened, in uptime; zero: not.
	ordered, broken, gaveUp time.Duration
}

// A step is what is to be done now.
type step int

const (
	wait step = iota
	giveUp
	actNow
)

// await returns when the session is gone and no order is open.
func (e *ending) await() error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var ticks <-chan time.Time // None while there is nothing to look at.
		if e.verb != "" {
			ticks = tick.C
		}
		select {
		case err := <-e.watched:
			if e.gaveUp == 0 {
				return err
			}
			e.watched = nil
		case err := <-e.watchFailed:
			return err
		case o := <-e.orders:
			e.setOrder(o)
			continue
		case <-ticks:
		}
		switch e.next() {
		case giveUp:
			e.abandon()
		case actNow:
			e.act(e.k.log, string(e.verb))
		}
		e.askAgain()
	}
}

func (e *ending) setOrder(o order) {
	if e.gaveUp != 0 {
		return
	}
	if o == "" && e.verb != "" {
		e.k.log.Errorf("the %s was cancelled: the session of the volume is kept", e.verb)
	}
	e.verb, e.ordered, e.broken = o, e.now(), 0
	e.askAt = e.ordered + firstAsk
	e.hurry(o != "")
}

// next judges where things stand.
func (e *ending) next() step {
	now := e.now()
	if e.gaveUp != 0 {
		if now-e.gaveUp >= actPatience {
			return actNow
		}
		return wait
	}
	state, err := e.k.session.State()
	if state == iscsi.LoggedIn || err != nil || e.verb == "" {
		e.broken = 0
		return wait
	}
	if e.broken == 0 {
		e.broken = now
		e.k.log.Errorf("%s was ordered, but the target of the node's volume does not answer: trying to log in for a short time", e.verb)
	}
	if now-e.ordered < orderPatience || now-e.broken < breakPatience {
		return wait
	}
	e.gaveUp = now
	return giveUp
}

// abandon gives the session up, so that all I/O on the volume fails at once and
// what waits for it goes on.
func (e *ending) abandon() {
	e.k.log.Errorf("the target still does not answer: the volume is given up so that the node can %s: WHAT WAS NOT WRITTEN TO IT YET IS LOST", e.verb)
	e.stop()
	e.k.log.Background(func() error {
		// It waits for those who hold the disk.
		if err := e.k.session.Abandon(); !errors.Is(err, iscsi.ErrGone) {
			return err
		}
		return nil
	})
}

// force carries out a verb from beside the tree's init.
func force(log Log, verb string) {
	log.Errorf("the shutdown has not finished in time: %s now", verb)
	// Other disks than the volume may be well; a dead server may keep this from
	// coming back.
	select {
	case <-panics.Go(func() error {
		unix.Sync()
		return nil
	}):
	case <-time.After(forceSyncTime):
	}
	act(log, []string{verb})
}

const forceSyncTime = 3 * time.Second
