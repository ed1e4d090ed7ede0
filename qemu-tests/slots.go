package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// defaultGuests is how many guests may run at a time on one machine: an emulated
// guest keeps a processor busy, but for a third of its time, in which it waits for
// servers or for time itself. So there is one more than processors, up to what
// fits into the memory of a machine with many.
func defaultGuests() int { return min(runtime.NumCPU()+1, 8) }

// several is the lock of the labs that want more than one place.
const several = "several"

// Reserve waits until as many guests may run at a time as a test needs side by
// side, and keeps the places for the lab's guests until it is closed or reserves
// again. Who wants more than the machine has gets all of those, and the rest beyond
// them. A test that boots two without it may hold one place for ever while another
// such test holds the other. The wait is over when ctx ends.
func (l *Lab) Reserve(ctx context.Context, guests int) error {
	l.giveUp() // A lab that waits for several must hold none.
	defer l.waits()()
	if guests > 1 {
		// One at a time takes several, so that those who take one always come to
		// an end and leave theirs. No other process takes one meanwhile: what has been
		// got is idle until all is there.
		turn, err := lockFile(ctx, several, 1, true, l.logf)
		if err != nil {
			return err
		}
		defer turn()
	}
	have, err := places()
	if err != nil {
		return err
	}
	for i := range guests {
		release := func() {}
		if i < have {
			if release, err = slot(ctx, guests > 1, l.logf); err != nil {
				return err
			}
		}
		l.giveBack(release)
	}
	return nil
}

// Idle gives the places of the lab's guests to others while they run on: for
// tests in which they do next to nothing for a long time.
func (l *Lab) Idle() {
	l.mu.Lock()
	guests := l.guests
	l.mu.Unlock()
	for _, g := range guests {
		g.leave()
	}
	l.giveUp()
}

// giveUp gives the reserved places back that no guest has.
func (l *Lab) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, release := range l.reserved {
		release()
	}
	l.reserved = nil
}

// place is a guest's right to run: one that was reserved, or one of the
// machine's. What it returns gives it back.
func (l *Lab) place(ctx context.Context) (release func(), err error) {
	if reserved := l.takeReserved(); reserved != nil {
		return func() { l.giveBack(reserved) }, nil
	}
	defer l.waits()()
	return slot(ctx, false, l.logf)
}

// waits keeps apart the time in which the lab waits for a place: nothing is
// expected of it until the function that is returned is called.
func (l *Lab) waits() (done func()) {
	release, start := l.watch.hold("a place for a guest"), time.Now()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.began.IsZero() {
			l.began = time.Now()
		} else {
			l.waited += time.Since(start)
		}
		release()
	}
}

// Took is how long the lab has had a place for a guest so far, without the waits
// for others after its first; 0 if it has never asked for one.
func (l *Lab) Took() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.IsZero() {
		return 0
	}
	return time.Since(l.began) - l.waited
}

func (l *Lab) takeReserved() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.reserved) - 1
	if last < 0 {
		return nil
	}
	release = l.reserved[last]
	l.reserved = l.reserved[:last]
	return release
}

// giveBack keeps a reserved place for the lab's next guest.
func (l *Lab) giveBack(release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		release()
		return
	}
	l.reserved = append(l.reserved, release)
}

// slot waits until one more guest may run. The places are lock files in the
// cache, so they count for all test runs on the machine and are given back by
// the kernel whatever happens to us.
//
// Who takes one waits while another collects several.
func slot(ctx context.Context, collects bool, logf func(string, ...any)) (release func(), err error) {
	n, err := places()
	if err != nil {
		return nil, err
	}
	return lockFile(ctx, "guest", n, collects, logf)
}

// places is how many guests may run on this machine: SIDUSBOOT_GUESTS sets it.
func places() (int, error) {
	s := os.Getenv("SIDUSBOOT_GUESTS")
	if s == "" {
		return defaultGuests(), nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("SIDUSBOOT_GUESTS=%q: give a number from 1", s)
	}
	return n, nil
}

// lockFile waits for one of n lock files of the cache and returns what unlocks
// it. Unless first is true, it waits as long as another process has the lock of those who
// want several.
func lockFile(ctx context.Context, name string, n int, first bool, logf func(string, ...any)) (release func(), err error) {
	dir, err := cacheDir("locks")
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("one of %d %s locks of this machine", n, name)
	f, err := waitLock(ctx, what, func(attempt int) (*os.File, error) {
		if attempt == 100 {
			logf("waiting for %s", what)
		}
		if !first && locked(filepath.Join(dir, several+"0")) {
			return nil, nil
		}
		for i := range n {
			if f, err := tryLock(filepath.Join(dir, fmt.Sprintf("%s%d", name, i))); f != nil || err != nil {
				return f, err
			}
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// locked tells whether a process has an exclusive lock on a file.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}
