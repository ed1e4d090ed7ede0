package resident

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sidusboot/sidusboot/panics"
)

// testLog is the log of a test.
type testLog struct{ t *testing.T }

// Not t.Logf, which panics after the end of the test.
func (l testLog) Errorf(format string, args ...any)  { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (l testLog) Noticef(format string, args ...any) { l.Errorf(format, args...) }

func (l testLog) Error(err error) {
	if err != nil {
		l.t.Errorf("logged: %v", err)
	}
}

func (l testLog) Background(f func() error) { go func() { l.Error(panics.Call(f)) }() }

// A recorder keeps what was logged.
type recorder struct {
	testLog
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}
