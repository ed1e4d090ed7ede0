package rwlayer

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

// A LUN is the node's own disk on an iSCSI target, with its session.
type LUN struct {
	// Target is where it is.
	Target iscsi.Target

	kernel  *iscsi.Kernel
	session *iscsi.Session
	options LUNOptions
	// mounted says that the node runs on the LUN.
	mounted atomic.Bool
	// stop ends what keep began.
	stop func()
}

// LUNOptions are those of OpenLUN.
type LUNOptions struct {
	// Key is this node's key for a reservation, Takeover that of another node from
	// which the LUN may be taken.
	Key, Takeover Key
	// Background runs a function in a goroutine, which recovers from a panic.
	Background func(func())
	Logf       func(format string, args ...any)
}

// OpenLUN logs in to the target and keeps the session logged in until Stop. A
// target that is not up yet is waited for, one that refuses the login is not.
func OpenLUN(ctx context.Context, t iscsi.Target, o LUNOptions) (*LUN, error) {
	l := &LUN{Target: t, options: o}
	l.Target.Admit = l.admit
	kernel, err := iscsi.Open("/")
	if err != nil {
		return nil, err
	}
	session, err := kernel.Await(ctx, l.Target, o.Logf)
	if err != nil {
		return nil, errors.Join(err, kernel.Close())
	}
	l.kernel, l.session = kernel, session
	l.keep()
	return l, nil
}

// admit is Target.Admit.
func (l *LUN) admit(u *iscsi.LogicalUnit) error {
	if l.mounted.Load() { // The target may have forgotten that.
		return Register(u, l.options.Key)
	}
	return CheckHolder(u, l.options.Key, l.options.Takeover)
}

// keep logs in again when the connection is lost while the volume is proven blank,
// formatted or checked. Without that the kernel would hold reads and writes back
// for a day. What a target forgets meanwhile is reserved again by who takes the
// session over.
func (l *LUN) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	holder := &Holder{Session: l.session, Release: l.giveBack, Logf: l.options.Logf}
	k := &iscsi.Keeper{Session: l.session, Refused: holder.Refused, Logf: l.options.Logf}
	l.options.Background(func() {
		defer close(done)
		if err := k.Run(ctx); err != nil {
			l.options.Logf("%v", err)
		}
	})
	l.stop = func() {
		cancel()
		<-done
	}
}

// Disk waits for the block device and returns its path.
func (l *LUN) Disk(ctx context.Context) (string, error) {
	disk, err := l.session.Disk(ctx)
	if err != nil {
		return "", err
	}
	return disk.Path, nil
}

// SetMounted says that the node runs on the LUN from now on.
func (l *LUN) SetMounted() { l.mounted.Store(true) }

// Answers tells whether the target is there, as far as the kernel knows.
func (l *LUN) Answers() bool {
	state, err := l.session.State()
	return err != nil || state == iscsi.LoggedIn // Or there is no session any more.
}

// ID is the session's.
func (l *LUN) ID() iscsi.ID { return l.session.ID() }

// Stop ends the logins, for who takes the session over.
func (l *LUN) Stop() { l.stop() }

// Close leaves the session to the kernel and to who has taken it over.
func (l *LUN) Close() error {
	l.session.Close()
	return l.kernel.Close()
}

// logoutTime is what the end of the session may take.
const logoutTime = 10 * time.Second

// Detach ends the session, and then gives back what this node has on the LUN:
// nothing can be written to it any more.
func (l *LUN) Detach() error {
	l.stop()
	ctx, cancel := context.WithTimeout(context.Background(), logoutTime)
	defer cancel()
	err := l.session.Logout(ctx)
	if err == nil { // The target answers.
		err = l.giveBack()
	}
	return errors.Join(err, l.kernel.Close())
}

// Abandon ends the session with what is not written yet: see
// iscsi.Session.Abandon.
func (l *LUN) Abandon() error {
	l.stop() // Or it logs in again.
	return l.session.Abandon()
}

func (l *LUN) giveBack() error { return ReleaseBySession(l.session, l.options.Key) }
