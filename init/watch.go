package main

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/watchdog"
)

// answerTime is how long a stage may wait for one answer.
const answerTime = 30 * time.Second

// waitFor notes what the stage is going to wait for, for the watchdog to say.
func (n *node) waitFor(what string) { n.meter.WaitFor(what) }

// waitForMore is waitFor, for a server that has just answered.
func (n *node) waitForMore(what string) {
	n.meter.WaitFor(what)
	n.meter.Answered()
}

// watched runs a stage under a watchdog.
func (n *node) watched(name string, run func() (string, error)) error {
	defer n.watchOver(name)()
	return n.stages.Run(name, func() (string, error) {
		detail, err := run()
		return detail, withRemedy(err)
	})
}

// watchOver starts a watchdog. stop waits for the end of what the watchdog has
// started: a shell keeps its console, and a node that reboots does not hand over.
func (n *node) watchOver(name string) (stop func()) {
	n.meter.Reset()
	w := watchdog.Watchdog{Stage: name, Limit: n.stageLimit(), Meter: n.meter, Logf: n.log.Errorf, GiveUp: n.giveUp}
	if n.cfg.OnError == config.Retry {
		w.GiveUp = nil // To wait on is what that policy would do, too.
	}
	done, ended := make(chan struct{}), make(chan struct{})
	n.background(func() {
		defer close(ended)
		w.Run(done)
	})
	return func() {
		close(done)
		<-ended
	}
}

// stageLimit is how long a stage may be without progress: it waits for its device
// or server, and then for one answer.
func (n *node) stageLimit() time.Duration {
	return n.cfg.Timeout + n.cfg.LeaseTimeout + answerTime
}

// giveUp does what the policy says about a stage that makes no progress, unless
// that ends after all.
func (n *node) giveUp(stage string, done <-chan struct{}) {
	after := func(delay time.Duration, what string, cmd int) {
		n.log.Errorf("%s in %v, unless %s makes progress (sidus.onerror=%s)", what, delay, stage, n.cfg.OnError)
		select {
		case <-done:
			n.log.Errorf("%s: it made progress: no %s", stage, what)
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
		n.shell("waits for the stage again")
	}
}
