package watchdog

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeMeter tells the progress of a fsck.
type fakeMeter func() Progress

func (f fakeMeter) Progress() Progress { return f() }
func (f fakeMeter) WaitsFor() string   { return "fsck, pass 1 of 5, 34 %" }

// TestWatchdog lets stages last for hours: one that makes progress is never cut,
// one without is given up at its limit, and each says what it waits for.
func TestWatchdog(t *testing.T) {
	const limit = 40 * time.Second
	tests := []struct {
		name string
		// moves tells whether there was progress by that time.
		progress func(at time.Duration) Progress
		lasts    time.Duration
		retry    bool
		givenUp  time.Duration // 0: never
		says     string
	}{
		{
			name: "a check that takes hours", lasts: 5 * time.Hour,
			progress: func(at time.Duration) Progress {
				return Progress{disk: true, read: uint64(at/(30*time.Second)) << 20}
			},
			says: "rw: waiting for fsck, pass 1 of 5, 34 % (2m5s so far); its disk has read 4 MiB and written 0 MiB",
		},
		{
			name: "a program that computes", lasts: time.Hour,
			progress: func(at time.Duration) Progress { return Progress{ticks: uint64(at / (39 * time.Second))} },
		},
		{name: "no disk", lasts: time.Hour, progress: func(time.Duration) Progress { return Progress{} }, givenUp: 45 * time.Second},
		{
			name: "a disk that fails", lasts: time.Hour,
			progress: func(at time.Duration) Progress {
				return Progress{disk: true, requests: uint64(min(at, 10*time.Minute) / time.Second)}
			},
			givenUp: 10*time.Minute + 45*time.Second, says: "its disk has read 0 MiB and written 0 MiB, nothing for 35s",
		},
		{name: "retry waits on", lasts: 24 * time.Hour, retry: true, progress: func(time.Duration) Progress { return Progress{} }},
		{name: "soon done", lasts: limit, progress: func(time.Duration) Progress { return Progress{} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var said []string
				givenUp := time.Duration(0)
				w := Watchdog{
					Stage: "rw", Limit: limit,
					Logf:  func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) },
					Meter: fakeMeter(func() Progress { return tt.progress(time.Since(start)) }),
				}
				if !tt.retry {
					w.GiveUp = func(string, <-chan struct{}) {
						if givenUp == 0 {
							givenUp = time.Since(start)
						}
					}
				}
				done := make(chan struct{})
				time.AfterFunc(tt.lasts, func() { close(done) })
				w.Run(done)
				if took := time.Since(start); took != tt.lasts {
					t.Errorf("the watchdog ended after %v", took)
				}
				if givenUp != tt.givenUp {
					t.Errorf("given up after %v, want %v", givenUp, tt.givenUp)
				}
				if text := strings.Join(said, "\n"); !strings.Contains(text, tt.says) || !strings.Contains(text, "(5s so far)") {
					t.Errorf("said %s", text)
				}
			})
		})
	}
}

func TestMeter(t *testing.T) {
	m := &Meter{}
	if p := m.Progress(); p != (Progress{}) {
		t.Errorf("of nothing: %+v", p)
	}
	m.UseProgram(os.Getpid())
	before := m.Progress()
	for start := time.Now(); m.Progress() == before; {
		if time.Since(start) > 20*time.Second {
			t.Fatal("a busy program makes no progress")
		}
	}
	m.UseProgram(0)
	disks, err := os.ReadDir("/sys/class/block")
	if err != nil || len(disks) == 0 {
		t.Skip("no disk")
	}
	m.UseDisk("/dev/" + disks[0].Name())
	if p := m.Progress(); !p.disk {
		t.Errorf("of %s: %+v", disks[0].Name(), p)
	}
	m.Reset()
	if p := m.Progress(); p.disk {
		t.Errorf("forgotten: %+v", p)
	}
}
