package qemutests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
)

// ErrPanic says that the guest's kernel panicked. What was waited for will not
// come.
var ErrPanic = errors.New("guest kernel panic")

// panicText is what a panicking kernel prints, as a whole line: it comes in pieces.
var panicText = regexp.MustCompile(`(?:Kernel panic - not syncing: |Attempted to kill init!)[^\r\n]*[\r\n]`)

// A transcript is the append-only record of what came out of a port.
type transcript struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed and replaced with every addition
	ended   bool          // nothing more will come
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

// record copies r into the transcript, and to live unless that is nil, until r
// ends. heard is called with each piece.
func (t *transcript) record(r io.Reader, live io.Writer, heard func([]byte)) {
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			heard(buf[:n])
			t.append(buf[:n])
			if live != nil {
				// The terminal may be closed; the record goes on.
				_, _ = live.Write(buf[:n])
			}
		}
		if err != nil {
			t.end()
			return
		}
	}
}

func (t *transcript) append(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *transcript) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended = true
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// String is everything so far.
func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// state returns the text so far, a channel that closes when there is more, and
// whether there will be none.
func (t *transcript) state() (text []byte, changed <-chan struct{}, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text[:len(t.text):len(t.text)], t.changed, t.ended
}

// A Match is text found on the console.
type Match struct {
	// Groups are the whole match and its submatches.
	Groups []string
	// End is where the console goes on behind the match; see ExpectAfter.
	End int
}

// Expect waits until the console, from its beginning, matches the expression.
func (g *Guest) Expect(ctx context.Context, expr string) (Match, error) {
	return g.ExpectAfter(ctx, 0, expr)
}

// ExpectAfter is Expect on the console from offset on: a Match's End, or the
// length of Console at some time.
//
// A kernel panic ends the wait at once with ErrPanic, and so does the guest's
// end, unless what is waited for is there already.
func (g *Guest) ExpectAfter(ctx context.Context, offset int, expr string) (Match, error) {
	ctx, cancel := g.lab.bounded(ctx, fmt.Sprintf("%q on the console", expr))
	defer cancel()
	re, err := regexp.Compile(expr)
	if err != nil {
		return Match{}, fmt.Errorf("expect: %w", err)
	}
	for {
		text, changed, ended := g.console.state()
		offset := min(offset, len(text))
		if loc := re.FindSubmatchIndex(text[offset:]); loc != nil {
			g.lab.watch.progress(fmt.Sprintf("%q on the console of %s", expr, g.name))
			m := Match{End: offset + loc[1]}
			for i := 0; i < len(loc); i += 2 {
				group := ""
				if loc[i] >= 0 {
					group = string(text[offset+loc[i] : offset+loc[i+1]])
				}
				m.Groups = append(m.Groups, group)
			}
			return m, nil
		}
		if err := g.trouble(); err != nil {
			return Match{}, g.explain(fmt.Errorf("waiting for %q on the console: %w", expr, err))
		}
		if ended {
			return Match{}, g.explain(fmt.Errorf("waiting for %q on the console: guest ended", expr))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Match{}, g.explain(fmt.Errorf("waiting for %q on the console: %w", expr, context.Cause(ctx)))
		}
	}
}

// trouble is ErrPanic, with the kernel's message, once the kernel has panicked.
func (g *Guest) trouble() error {
	if g.opts.PanicOK {
		return nil
	}
	text, _, _ := g.console.state()
	if found := panicText.Find(text); found != nil {
		return fmt.Errorf("%w: %s", ErrPanic, bytes.TrimSpace(found))
	}
	return nil
}

// explain adds the end of the console to an error.
func (g *Guest) explain(err error) error {
	return fmt.Errorf("%s: %w; the console ends with:\n%s", g.name, err, lastLines(g.Console(), 25))
}
