package main

import (
	"time"

	"github.com/sidusboot/sidusboot/config"
)

// When a stage is still at work, it is said what it waits for.
const (
	firstWord = 5 * time.Second
	nextWord  = 30 * time.Second
)

// waitFor notes what the stage is going to wait for, for the watchdog to say.
func (n *node) waitFor(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = what
}

// watched runs a stage under a watchdog. Most waits have a deadline of their
// own; a few are in the kernel, on a server that has died meanwhile, and cannot
// be ended. Then the policy acts over the stage's head, except for retry: going
// on to wait is what that would do too.
func (n *node) watched(name string, run func() (string, error)) error {
	done := make(chan struct{})
	defer close(done)
	n.waitFor("")
	go func() {
		defer n.recovered()
		n.watchdog(name, done)
	}()
	return n.stage(name, run)
}

func (n *node) watchdog(name string, done <-chan struct{}) {
	start := time.Now()
	for wait := firstWord; ; wait = nextWord {
		select {
		case <-done:
			return
		case <-time.After(wait):
		}
		n.mu.Lock()
		what := n.waiting
		n.mu.Unlock()
		if what == "" {
			what = "an answer"
		}
		took := time.Since(start).Round(time.Second)
		n.log.errorf("%s: waiting for %s since %v", name, what, took)
		// A stage waits for its device or server and then for one answer.
		if took > n.cfg.Timeout+n.cfg.LeaseTimeout+nextWord && n.cfg.OnError != config.Retry {
			n.log.errorf("%s: no end after %v", name, took)
			n.act("waits on")
		}
	}
}
