package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
)

// When a stage is still at work, it is said what it waits for, and how far it is.
const (
	firstWord = 5 * time.Second
	nextWord  = 30 * time.Second
	// lookEvery is how often a stage's progress is looked at.
	lookEvery = 5 * time.Second
)

// waitFor notes what the stage is going to wait for, for the watchdog to say.
func (n *node) waitFor(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = what
}

// waitOn is waitFor, for a server that has shown just now that it is there.
func (n *node) waitOn(what string) {
	n.waitFor(what)
	n.system.sign()
}

// waitsFor is what the stage waits for.
func (n *node) waitsFor() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == "" {
		return "an answer"
	}
	return n.waiting
}

// watched runs a stage under a watchdog.
func (n *node) watched(name string, run func() (string, error)) error {
	defer n.watchOver(name)()
	return n.stages.Run(name, func() (string, error) {
		detail, err := run()
		return detail, withRemedy(err)
	})
}

// watchOver begins a watchdog. stop waits for the end of what that has begun: a
// shell keeps its console, and a node that reboots does not
// hand over.
func (n *node) watchOver(name string) (stop func()) {
	n.waitFor("")
	n.system.forget()
	w := watchdog{stage: name, limit: n.stageLimit(), say: n.log.Errorf, waitsFor: n.waitsFor, progress: n.system.progress, giveUp: n.giveUp}
	if n.cfg.OnError == config.Retry {
		w.giveUp = nil
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer n.recovered()
		defer close(ended)
		w.run(done)
	}()
	return func() {
		close(done)
		<-ended
	}
}

// stageLimit is how long a stage may be without a sign of progress: it waits for
// its device or server, and then for one answer.
func (n *node) stageLimit() time.Duration { return n.cfg.Timeout + n.cfg.LeaseTimeout + nextWord }

// A watchdog watches one stage. Most waits have a deadline of their own; a few
// are in the kernel, on a server that has failed meanwhile, and cannot be ended.
// Work that makes progress, a check or an mkfs that takes hours, is never cut.
type watchdog struct {
	stage    string
	limit    time.Duration
	say      func(format string, args ...any)
	waitsFor func() string
	progress func() progress
	// giveUp acts by the policy while the stage still runs. Nil, with the policy
	// retry: going on to wait is what that would do too.
	giveUp func(stage string, done <-chan struct{})
}

// run returns when done is closed.
func (w *watchdog) run(done <-chan struct{}) {
	start := time.Now()
	seen, moved, next := w.progress(), start, start.Add(firstWord)
	for {
		select {
		case <-done:
			return
		case <-time.After(lookEvery):
		}
		now := time.Now()
		if p := w.progress(); p != seen {
			seen, moved = p, now
		}
		idle := now.Sub(moved).Round(time.Second)
		if !now.Before(next) {
			next = now.Add(nextWord)
			w.say("%s: waiting for %s since %v%s", w.stage, w.waitsFor(), now.Sub(start).Round(time.Second), seen.text(idle))
		}
		if w.giveUp != nil && idle > w.limit {
			w.say("%s: no progress for %v", w.stage, idle)
			w.giveUp(w.stage, done)
			moved = time.Now()
		}
	}
}

// giveUp does what the policy says about a stage that makes no progress, unless
// that ends after all.
func (n *node) giveUp(stage string, done <-chan struct{}) {
	after := func(delay time.Duration, what string, cmd int) {
		n.log.Errorf("%s in %v, unless %s goes on (sidus.onerror=%s)", what, delay, stage, n.cfg.OnError)
		select {
		case <-done:
			n.log.Errorf("%s: it went on: no %s", stage, what)
		case <-time.After(delay):
			n.end(cmd)
		}
	}
	switch n.cfg.OnError {
	case config.Reboot:
		after(n.restartDelay(), "reboot", unix.LINUX_REBOOT_CMD_RESTART)
	case config.PowerOff:
		after(defaultDelay, "power off", unix.LINUX_REBOOT_CMD_POWER_OFF)
	case config.Shell:
		n.shell("waits on")
	}
}

// text is what is said of progress that was last seen idle ago.
func (p progress) text(idle time.Duration) string {
	text := ""
	if p.disk {
		text = fmt.Sprintf("; its disk has read %d MiB and written %d MiB", p.read>>20, p.written>>20)
	}
	if idle >= nextWord && p != (progress{}) {
		text += fmt.Sprintf(", nothing for %v", idle)
	}
	return text
}
