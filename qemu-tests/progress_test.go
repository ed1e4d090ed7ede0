package qemutests

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestNews(t *testing.T) {
	// One port: each text comes after those before it.
	var n news
	for _, test := range []struct{ text, want string }{
		{"[    2.1] Run /init\r\n", "[    2.1] Run /init"},
		{"[    2.2] Run /in", ""},
		{"it\n", ""}, // The same but for its numbers.
		{"trying again in 5s\ntrying again in 9s\n", "trying again in 5s"},
		{"trying again in 17s (attempt 4)\n", "trying again in 17s (attempt 4)"},
		{"trying again in 18s (attempt 5)\n", ""},
		{"12345\n\n[ *** ]\n", ""},
		{"[ 242.6] INFO: task kworker/u2:0:9 blocked for more than 120 seconds.\n[ 242.7] task:sh  state:D\n", ""},
		{"no end of a line", ""},
	} {
		if got := n.in([]byte(test.text)); got != test.want {
			t.Errorf("news in %q = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestWatch(t *testing.T) {
	w := newWatch()
	if err := w.hangs(); err != nil {
		t.Errorf("a new watch: %v", err)
	}
	w.last = time.Now().Add(-w.patience - time.Second)
	if err := w.hangs(); err == nil || !strings.Contains(err.Error(), "the lab's beginning") {
		t.Errorf("after its patience: %v, want what the last progress was", err)
	}
	l := &Lab{watch: w}
	ctx, cancel := l.Watched(t.Context())
	defer cancel()
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Fatal("the context of a lab that hangs does not end")
	}
	if err := context.Cause(ctx); !strings.Contains(err.Error(), "no progress for") {
		t.Errorf("its cause: %v", err)
	}

	w.last = time.Now().Add(-w.patience - time.Second)
	release := w.hold("a place")
	if err := w.hangs(); err != nil {
		t.Errorf("while it is held: %v", err)
	}
	release()
	if err := w.hangs(); err != nil {
		t.Errorf("right after it was held: %v", err)
	}
}

func TestPace(t *testing.T) {
	if pace := new(Guest).Pace(); pace != 1 {
		t.Errorf("a guest of which nothing is known has pace %v, want 1", pace)
	}
	g := &Guest{atInit: processorTime{ran: 2 * kernelTime}, now: processorTime{ran: 10 * time.Second, waited: 5 * time.Second}}
	if pace := g.Pace(); pace != 3 {
		t.Errorf("a processor half as fast that was busy a third of the time: %v, want 3", pace)
	}
	g.atInit.ran = kernelTime / 2
	if pace := g.Pace(); pace != 1.5 {
		t.Errorf("a faster one, as busy: %v, want 1.5", pace)
	}
}
