package qemutests

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// defaultPatience is how long a lab may go without progress before the one who waits
// for it gives up. It is counted from the last sign of progress, not from the
// start of anything: a machine half as fast needs twice the time for everything,
// and still shows progress every few seconds; a lab that hangs shows none,
// however fast the machine is.
//
// The longest silence of a lab that is well is a product's own wait: a minute
// between two attempts, 90 s of an order that is given up.
const defaultPatience = 4 * time.Minute

// A watch knows when a lab last made progress: a line that no port of the guest
// has shown before, the output of a command in a guest, a stage of /init, an
// answer that a test waited for, a server that was started. A line that differs
// from an earlier one only in its numbers is none, or a node that fails and tries
// again for ever would look busy.
type watch struct {
	mu       sync.Mutex
	patience time.Duration
	last     time.Time
	what     string
	// held counts those for whom time stands still: who waits for a place among
	// the machine's guests, who rests.
	held int
}

func newWatch() *watch {
	return &watch{patience: defaultPatience, last: time.Now(), what: "the lab's beginning"}
}

// progress notes that something was done.
func (w *watch) progress(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.what = time.Now(), what
}

// hold stops the watch's time until the function that it returns is called.
func (w *watch) hold(what string) (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held++
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.held--
		w.last, w.what = time.Now(), what
	})
}

// hangs is an error once there was no progress for the watch's patience.
func (w *watch) hangs() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if silence := time.Since(w.last); w.held == 0 && silence > w.patience {
		return fmt.Errorf("no progress for %v: the last was %s", silence.Round(time.Second), w.what)
	}
	return nil
}

// SetPatience sets how long the lab may go without progress, and notes some.
func (l *Lab) SetPatience(d time.Duration) {
	l.watch.mu.Lock()
	l.watch.patience = d
	l.watch.mu.Unlock()
	l.watch.progress("a new patience")
}

// Watched returns a context that ends with ctx or when the lab hangs, which is
// its context.Cause then.
func (l *Lab) Watched(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := l.watch.hangs(); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// bounded gives a wait for a guest an end: the deadline of its context if that
// has one, or else the moment at which the lab hangs.
func (l *Lab) bounded(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	l.watch.progress("the beginning of a wait for " + what)
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return l.Watched(ctx)
}

// Rest lets the lab's guests wait for something for a while, in which others may
// run in their places, and from then on.
func (l *Lab) Rest(ctx context.Context, d time.Duration) error {
	l.Idle()
	defer l.watch.hold("a rest")()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// news finds lines that a port has not shown before.
type news struct {
	partial string
	seen    map[string]bool
}

// in returns the last new line that ends in text; empty: there is none.
func (n *news) in(text []byte) (line string) {
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.partial += string(text)
	for {
		first, rest, ok := strings.Cut(n.partial, "\n")
		if !ok {
			return line
		}
		n.partial = rest
		if hungTask.MatchString(first) {
			continue
		}
		if words := withoutNumbers(first); words != "" && !n.seen[words] {
			n.seen[words] = true
			line = strings.TrimSpace(first)
		}
	}
}

// hungTask finds what the kernel says every two minutes of a task that waits: the
// opposite of progress.
var hungTask = regexp.MustCompile(`blocked for more than|task:.* state:`)

// withoutNumbers is a line without the words that have digits in them, nor
// anything else but letters.
func withoutNumbers(line string) string {
	var words []string
	for word := range strings.FieldsSeq(line) {
		if strings.ContainsAny(word, "0123456789") {
			continue
		}
		word = strings.Map(func(r rune) rune {
			if r < 'A' || 'Z' < r && r < 'a' || 'z' < r {
				return -1
			}
			return r
		}, word)
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}
