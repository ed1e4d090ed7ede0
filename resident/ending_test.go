package resident

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

// A stateWatcher is a session whose state is set by the test.
type stateWatcher struct {
	fakeWatcher
	state     string
	err       error
	abandoned chan struct{}
}

func (w *stateWatcher) AdmitSkipped() error { return nil }

func (w *stateWatcher) State() (string, error) { return w.state, w.err }

func (w *stateWatcher) Abandon() error {
	close(w.abandoned)
	return nil
}

func newEnding(t *testing.T, w *stateWatcher, now *time.Duration) *ending {
	return &ending{k: keep(w, testLog{t}), hurry: func(bool) {}, now: func() time.Duration { return *now }}
}

// The session is given up only when an order is open, the connection is down,
// and both have been so for a while; the verb is carried out only after that.
func TestEnding(t *testing.T) {
	const up, down = iscsi.LoggedIn, "FAILED"
	type moment struct {
		at    int // seconds
		order string
		state string
		want  step
	}
	for name, story := range map[string][]moment{
		"never ordered":          {{10, "", down, wait}, {100000, "", down, wait}},
		"slow and well":          {{10, "poweroff", up, wait}, {1000, "-", up, wait}, {100000, "-", up, wait}},
		"gone before the order":  {{10, "poweroff", down, wait}, {29, "-", down, wait}, {30, "-", down, giveUp}, {54, "-", down, wait}, {55, "-", down, actNow}},
		"gone behind the order":  {{10, "reboot", up, wait}, {100, "-", down, wait}, {114, "-", down, wait}, {115, "-", down, giveUp}, {139, "-", down, wait}, {140, "-", down, actNow}},
		"back in time":           {{10, "poweroff", down, wait}, {20, "-", up, wait}, {31, "-", up, wait}, {1000, "-", up, wait}},
		"back, and gone again":   {{10, "poweroff", down, wait}, {20, "-", up, wait}, {40, "-", down, wait}, {54, "-", down, wait}, {55, "-", down, giveUp}},
		"taken back":             {{10, "poweroff", down, wait}, {20, "", down, wait}, {100, "-", down, wait}, {101, "halt", down, wait}, {120, "-", down, wait}, {121, "-", down, giveUp}},
		"not taken back by then": {{10, "poweroff", down, wait}, {30, "-", down, giveUp}, {31, "", down, wait}, {55, "-", down, actNow}},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Duration(0)
			w := &stateWatcher{abandoned: make(chan struct{})}
			e := newEnding(t, w, &now)
			for _, m := range story {
				now, w.state = time.Duration(m.at)*time.Second, m.state
				if m.order != "-" {
					e.setOrder(order(m.order))
				}
				if got := e.next(); got != m.want {
					t.Fatalf("at %d s: got %d, want %d", m.at, got, m.want)
				}
			}
		})
	}
	// A session that somebody else has ended needs nothing.
	now := 10 * time.Second
	e := newEnding(t, &stateWatcher{err: iscsi.ErrGone}, &now)
	e.setOrder("poweroff")
	now = time.Hour
	if got := e.next(); got != wait {
		t.Errorf("gone: got %d", got)
	}
}

// A whole ending: the order comes by the directory, the session is given up, the
// watch ends, the verb is carried out.
func TestEndingAwait(t *testing.T) {
	dir := t.TempDir()
	orders, _, err := watchOrders(dir)
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "reboot")
	if err := os.WriteFile(fifo, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := <-orders; o != "" {
		t.Fatalf("a FIFO was made: order %q", o)
	}
	w := &stateWatcher{state: "FAILED", abandoned: make(chan struct{})}
	var start = time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := make(chan error, 1)
	acted := make(chan string, 1)
	var hurry atomic.Bool
	e := &ending{
		k: keep(w, testLog{t}), orders: orders, stop: cancel, watched: watched, hurry: hurry.Store,
		// A minute passes in a second or two.
		now: func() time.Duration { return time.Since(start) * 30 },
		act: func(_ Log, verb string) { acted <- verb },
	}
	go e.await()
	if err := os.Remove(fifo); err != nil {
		t.Fatal(err)
	}
	timeout := time.After(20 * time.Second)
	for _, done := range []<-chan struct{}{w.abandoned, ctx.Done()} {
		select {
		case <-done:
		case <-timeout:
			t.Fatal("the session is not given up")
		}
	}
	watched <- nil
	if !hurry.Load() {
		t.Error("no hurry")
	}
	select {
	case verb := <-acted:
		if verb != "reboot" {
			t.Errorf("carried out %q", verb)
		}
	case <-timeout:
		t.Fatal("the verb is not carried out")
	}
}

// Without an order the keeper ends with its watch.
func TestEndingWithoutOrder(t *testing.T) {
	now := time.Second
	e := newEnding(t, &stateWatcher{}, &now)
	watched := make(chan error, 1)
	e.watched = watched
	watched <- errors.New("over")
	if err := e.await(); err == nil || err.Error() != "over" {
		t.Errorf("got %v", err)
	}
}

func TestOrderUnits(t *testing.T) {
	root := t.TempDir()
	if err := writeOrderUnits(root); err != nil {
		t.Fatal(err)
	}
	for verb := range verbs {
		name := "sidusboot-" + verb + ".socket"
		b, err := os.ReadFile(filepath.Join(root, "run/systemd/system/sysinit.target.wants", name))
		for _, want := range []string{"\nConflicts=" + verb + ".target\n", "\nListenFIFO=/run/initramfs/order/" + verb + "\n", "\nRemoveOnStop=yes\n"} {
			if err != nil || !strings.Contains(string(b), want) {
				t.Errorf("%s lacks %q: %v", name, want, err)
			}
		}
		if strings.Contains(string(b), "VERB") {
			t.Errorf("%s: %s", name, b)
		}
	}
}

// While an order is open systemd is asked whether it still is: after a while, now
// and then, one question at a time, and not when it is too late.
func TestEndingAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Duration(0)
		w := &stateWatcher{state: iscsi.LoggedIn, abandoned: make(chan struct{})}
		e := newEnding(t, w, &now)
		var asked []string
		slow, release := false, make(chan struct{})
		e.ask = func(verb string) error {
			asked = append(asked, fmt.Sprint(verb, now.Seconds()))
			if slow {
				<-release
			}
			return nil
		}
		at := func(seconds int) {
			now = time.Duration(seconds) * time.Second
			e.askAgain()
			synctest.Wait()
		}
		at(5) // Nothing was ordered.
		now = 10 * time.Second
		e.setOrder("poweroff")
		for s := 11; s < 60; s++ {
			at(s)
		}
		e.setOrder("") // Taken back.
		at(100)
		e.setOrder("halt")
		slow = true
		for s := 101; s < 300; s++ {
			at(s)
		}
		e.gaveUp = now
		at(10000)
		close(release)
		if got := strings.Join(asked, " "); got != "poweroff20 poweroff50 halt110" {
			t.Errorf("asked %s", got)
		}
	})
}

// A keeper that begins while an order is open sees which.
func TestOpenOrder(t *testing.T) {
	dir := t.TempDir()
	if o := openOrder(dir); o != "" {
		t.Errorf("none is armed yet: %q", o)
	}
	for verb := range verbs {
		if err := os.WriteFile(filepath.Join(dir, verb), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if o := openOrder(dir); o != "" {
		t.Errorf("all are armed: %q", o)
	}
	if err := os.Remove(filepath.Join(dir, "halt")); err != nil {
		t.Fatal(err)
	}
	if o := openOrder(dir); o != "halt" {
		t.Errorf("halt is ordered: %q", o)
	}
}
