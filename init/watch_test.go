package main

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/config"
)

// TestGiveUp carries out what sidus.onerror= says about a stage without progress,
// or nothing when that ends within the delay.
func TestGiveUp(t *testing.T) {
	for _, tt := range []struct {
		policy config.OnError
		panics int
		ends   time.Duration // of the stage; 0: never
		want   int           // the command; 0: none
		after  time.Duration
	}{
		{config.Reboot, 10, 0, unix.LINUX_REBOOT_CMD_RESTART, 10 * time.Second},
		{config.Reboot, -1, 0, unix.LINUX_REBOOT_CMD_RESTART, 0},
		{config.Reboot, 0, 0, unix.LINUX_REBOOT_CMD_RESTART, 30 * time.Second},
		{config.Reboot, 10, 9 * time.Second, 0, 9 * time.Second},
		{config.PowerOff, 0, 0, unix.LINUX_REBOOT_CMD_POWER_OFF, 30 * time.Second},
		{config.PowerOff, 0, 29 * time.Second, 0, 29 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			got := 0
			n := &node{log: &bootlog.Logger{Name: "test"}, end: func(cmd int) { got = cmd }}
			n.cfg.OnError, n.cfg.Panic = tt.policy, &tt.panics
			done := make(chan struct{})
			if tt.ends > 0 {
				time.AfterFunc(tt.ends, func() { close(done) })
			}
			start := time.Now()
			n.giveUp("rw", done)
			if took := time.Since(start); got != tt.want || took != tt.after {
				t.Errorf("%+v: %#x after %v", tt, got, took)
			}
		})
	}
}

// A stage's end waits for what the watchdog has begun.
func TestWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		n := newNode(&bootlog.Logger{Name: "test"})
		n.cfg.OnError, n.cfg.Timeout, n.cfg.LeaseTimeout = config.Reboot, 5*time.Second, 5*time.Second
		n.end = func(int) {
			time.Sleep(time.Minute)
			ended = true
		}
		if err := n.watched("rw", func() (string, error) { time.Sleep(2 * time.Minute); return "", nil }); err != nil {
			t.Error(err)
		}
		if !ended {
			t.Error("the stage went on while the node was being ended")
		}
	})
}
