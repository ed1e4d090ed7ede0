// Package watchdog watches the stages of a boot: it says what a stage waits for and
// how far it is, and gives up one that makes no progress.
package watchdog

import "time"

const (
	// firstReport is when it is said for the first time what a stage waits for,
	// nextReport how long after that it is said again.
	firstReport = 5 * time.Second
	nextReport  = 30 * time.Second
	// interval is between two looks at a stage's progress.
	interval = 5 * time.Second
)

// A Watchdog watches one stage. Most waits have a deadline of their own; a few
// are in the kernel, on a server that has failed meanwhile, and cannot be ended.
// Work that makes progress, a check or an mkfs that takes hours, is never cut.
type Watchdog struct {
	Stage string
	// Limit is how long the stage may be without progress.
	Limit time.Duration
	// Meter is the stage's *Meter, of which Watchdog needs these methods.
	Meter interface {
		WaitsFor() string
		Progress() Progress
	}
	Logf func(format string, args ...any)
	// GiveUp, which may be nil, is called when the limit has passed, while the
	// stage still runs. done is closed when the stage has ended after all.
	GiveUp func(stage string, done <-chan struct{})
}

// Run returns when done is closed.
func (w *Watchdog) Run(done <-chan struct{}) {
	start := time.Now()
	seen, moved, next := w.Meter.Progress(), start, start.Add(firstReport)
	for {
		select {
		case <-done:
			return
		case <-time.After(interval):
		}
		now := time.Now()
		if p := w.Meter.Progress(); p != seen {
			seen, moved = p, now
		}
		idle := now.Sub(moved).Round(time.Second)
		if !now.Before(next) {
			next = now.Add(nextReport)
			w.Logf("%s: waiting for %s (%v so far)%s", w.Stage, w.Meter.WaitsFor(), now.Sub(start).Round(time.Second), seen.text(idle))
		}
		if w.GiveUp != nil && idle > w.Limit {
			w.Logf("%s: no progress for %v", w.Stage, idle)
			w.GiveUp(w.Stage, done)
			moved = time.Now()
		}
	}
}
