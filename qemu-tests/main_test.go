//go:build qemu

package qemutests

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// times are how long the tests with a lab took. The tests of a package have only
// its variables in common with TestMain.
var times struct {
	mu   sync.Mutex
	runs []testTime
}

// A testTime is the time of one test: its own, what it waited for a place among
// the machine's guests, and what its guests had of the processors, which says
// what the test costs when the machine is busy.
type testTime struct {
	name                string
	own, waited, guests time.Duration
}

// newLab is NewLab, and tells how long the lab's test took, as soon as it ends.
func newLab(t *testing.T, o LabOptions) *Lab {
	t.Helper()
	l := NewLab(t, o)
	start := time.Now()
	t.Cleanup(func() {
		took := testTime{name: t.Name(), own: l.Took()}
		took.waited = time.Since(start) - took.own
		if took.own == 0 { // It has booted nothing.
			took.own, took.waited = took.waited, 0
		}
		for _, g := range l.guests {
			took.guests += g.now.ran
		}
		state := ""
		if t.Failed() {
			state = "  FAILED"
		}
		times.mu.Lock()
		defer times.mu.Unlock()
		times.runs = append(times.runs, took)
		fmt.Printf("%s%s\n", took, state)
	})
	return l
}

func (t testTime) String() string {
	return fmt.Sprintf("%7.1f s  %s (guests %.1f s, waited %.0f s for a place)", t.own.Seconds(), t.name, t.guests.Seconds(), t.waited.Seconds())
}

// TestMain runs the tests and prints the slowest ten of them.
func TestMain(m *testing.M) {
	start := time.Now()
	status := m.Run()
	slices.SortFunc(times.runs, func(a, b testTime) int { return int(b.own - a.own) })
	if len(times.runs) > 1 {
		var sum time.Duration
		for _, t := range times.runs {
			sum += t.own
		}
		fmt.Printf("%d tests with a lab took %.0f s in %.0f s; the slowest:\n", len(times.runs), sum.Seconds(), time.Since(start).Seconds())
		for _, t := range times.runs[:min(10, len(times.runs))] {
			fmt.Println(t)
		}
	}
	os.Exit(status)
}
