package iscsi

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sidusboot/sidusboot/clock"
)

// A Keeper keeps a session logged in: it watches the session, and logs in again
// whenever the connection is lost.
type Keeper struct {
	// Session is the session, of which Keeper needs these methods.
	Session interface {
		Watch(ctx context.Context) error
		Recover(ctx context.Context) error
		State() (string, error)
		AdmitSkipped() error
	}
	// OtherOwner, which may be nil, tells whether another program runs to which
	// the session belongs then: see IscsidRuns.
	OtherOwner func() bool
	// LoggedIn, which may be nil, is called after each login, whoever has logged
	// in. It must not wait for the disk: when the connection is lost once more
	// the kernel holds commands back, and nobody would log in.
	LoggedIn func()
	// Refused, which may be nil, is told why a login was not made. attempt counts
	// the logins since the connection was lost. With stop the next one is not
	// tried before the session needs one again; a pause of zero leaves it
	// to the Keeper when that is.
	Refused func(attempt int, err error) (pause time.Duration, stop bool)
	// Logf is told what happens to the session.
	Logf func(format string, args ...any)

	// admitSkipped is the last message about a target that refuses the check.
	admitSkipped string
	hurry        atomic.Bool
}

const (
	firstPause = time.Second
	maxPause   = 15 * time.Second
	// attemptTime bounds one round over the portals.
	attemptTime = 30 * time.Second
	// ownerPause is the time between two looks at a session that belongs to
	// another program.
	ownerPause = 5 * time.Second
	// otherLoginTime is what another process gets that logs in on the session.
	otherLoginTime = 30 * time.Second
)

// Hurry sets whether all pauses are cut to a second, because the node is about to
// end. Another goroutine may call it.
func (k *Keeper) Hurry(on bool) { k.hurry.Store(on) }

// Run keeps the session logged in until ctx ends, which is no error. It returns
// ErrGone when the session is gone, and ErrEventsLost when the kernel's events cannot
// be read any more.
func (k *Keeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := k.Session.Watch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrEventsLost), errors.Is(err, ErrGone):
			return err
		case errors.Is(err, ErrTakenOver):
			k.awaitOtherLogin(ctx)
			continue
		case k.belongsToOther():
			// Ours again when the other program has ended, as iscsid does at
			// shutdown.
			k.wait(ctx, ownerPause)
			if state, err := k.Session.State(); err == nil && state == LoggedIn {
				k.loggedIn()
			}
			continue
		}
		k.Logf("%v; logging in again", err)
		if err := k.logInAgain(ctx); errors.Is(err, ErrTakenOver) {
			k.awaitOtherLogin(ctx)
		}
	}
	return nil
}

func (k *Keeper) belongsToOther() bool { return k.OtherOwner != nil && k.OtherOwner() }

func (k *Keeper) loggedIn() {
	if k.LoggedIn != nil {
		k.LoggedIn()
	}
}

// awaitOtherLogin lets another process log in on the session. A login of ours
// would end its connection.
func (k *Keeper) awaitOtherLogin(ctx context.Context) {
	for waited := time.Duration(0); waited < otherLoginTime && ctx.Err() == nil; waited += time.Second {
		k.wait(ctx, time.Second)
		if k.hurry.Load() {
			return
		}
		switch state, err := k.Session.State(); {
		case errors.Is(err, ErrGone):
			return
		case err == nil && state == LoggedIn:
			k.loggedIn()
			return
		}
	}
}

// logInAgain tries until a login succeeds, Refused stops it, the session is gone
// or is another program's, or ctx ends. Its only error is ErrTakenOver.
func (k *Keeper) logInAgain(ctx context.Context) error {
	start := time.Now()
	said := ""
	pause := firstPause
	for attempt := 1; ctx.Err() == nil; attempt++ {
		if k.belongsToOther() {
			return nil
		}
		one, cancel := context.WithTimeout(ctx, attemptTime)
		err := k.Session.Recover(one)
		cancel()
		switch {
		case err == nil:
			k.Logf("logged in again after %v", time.Since(start).Round(time.Second/10))
			if why := k.Session.AdmitSkipped(); why != nil && why.Error() != k.admitSkipped {
				k.admitSkipped = why.Error()
				k.Logf("this node writes to the volume again without a check of which node holds it, because the target does not allow the check: %v", why)
			}
			k.loggedIn()
			return nil
		case errors.Is(err, ErrGone), ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrTakenOver):
			return err
		}
		if k.Refused != nil {
			other, stop := k.Refused(attempt, err)
			if stop {
				return nil
			}
			if other != 0 {
				pause = other
			}
		}
		if text := err.Error(); text != said {
			k.Logf("%s; trying again", text)
			said = text
		}
		// Many nodes lose one target at the same moment.
		k.wait(ctx, clock.Jitter(pause))
		pause = min(2*pause, maxPause)
	}
	return nil
}

// wait pauses for d, or for a second when there is hurry.
func (k *Keeper) wait(ctx context.Context, d time.Duration) {
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
