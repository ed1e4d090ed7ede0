package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/config"
)

// TestWatchdog lets stages last for hours: one that makes progress is never cut,
// one without is given up at its limit, and each says what it waits for.
func TestWatchdog(t *testing.T) {
	const limit = 40 * time.Second
	tests := []struct {
		name string
		// moves tells whether there was progress by that time.
		progress func(at time.Duration) progress
		lasts    time.Duration
		retry    bool
		givenUp  time.Duration // 0: never
		says     string
	}{
		{
			name: "a check that takes hours", lasts: 5 * time.Hour,
			progress: func(at time.Duration) progress {
				return progress{disk: true, read: uint64(at/(30*time.Second)) << 20}
			},
			says: "rw: waiting for fsck, pass 1 of 5, 34 % since 2m5s; its disk has read 4 MiB and written 0 MiB",
		},
		{
			name: "a program that computes", lasts: time.Hour,
			progress: func(at time.Duration) progress { return progress{ticks: uint64(at / (39 * time.Second))} },
		},
		{name: "no disk", lasts: time.Hour, progress: func(time.Duration) progress { return progress{} }, givenUp: 45 * time.Second},
		{
			name: "a disk that fails", lasts: time.Hour,
			progress: func(at time.Duration) progress {
				return progress{disk: true, requests: uint64(min(at, 10*time.Minute) / time.Second)}
			},
			givenUp: 10*time.Minute + 45*time.Second, says: "its disk has read 0 MiB and written 0 MiB, nothing for 35s",
		},
		{name: "retry waits on", lasts: 24 * time.Hour, retry: true, progress: func(time.Duration) progress { return progress{} }},
		{name: "soon done", lasts: limit, progress: func(time.Duration) progress { return progress{} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var said []string
				givenUp := time.Duration(0)
				w := watchdog{
					stage: "rw", limit: limit,
					say:      func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) },
					waitsFor: func() string { return "fsck, pass 1 of 5, 34 %" },
					progress: func() progress { return tt.progress(time.Since(start)) },
				}
				if !tt.retry {
					w.giveUp = func(string, <-chan struct{}) {
						if givenUp == 0 {
							givenUp = time.Since(start)
						}
					}
				}
				done := make(chan struct{})
				time.AfterFunc(tt.lasts, func() { close(done) })
				w.run(done)
				if took := time.Since(start); took != tt.lasts {
					t.Errorf("the watchdog ended after %v", took)
				}
				if givenUp != tt.givenUp {
					t.Errorf("given up after %v, want %v", givenUp, tt.givenUp)
				}
				if text := strings.Join(said, "\n"); !strings.Contains(text, tt.says) || !strings.Contains(text, "since 5s") {
					t.Errorf("said %s", text)
				}
			})
		})
	}
}

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

func TestProgress(t *testing.T) {
	s := &system{}
	if p := s.progress(); p != (progress{}) {
		t.Errorf("of nothing: %+v", p)
	}
	s.setChild(os.Getpid())
	before := s.progress()
	for start := time.Now(); s.progress() == before; {
		if time.Since(start) > 20*time.Second {
			t.Fatal("a busy program makes no progress")
		}
	}
	s.setChild(0)
	disks, err := os.ReadDir("/sys/class/block")
	if err != nil || len(disks) == 0 {
		t.Skip("no disk")
	}
	s.watchDisk("/dev/" + disks[0].Name())
	if p := s.progress(); !p.disk {
		t.Errorf("of %s: %+v", disks[0].Name(), p)
	}
	s.forget()
	if p := s.progress(); p.disk {
		t.Errorf("forgotten: %+v", p)
	}
}
