package bootlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
)

// Stages records the stages of a boot: in the log, in the report, and as lines on a
// tty for a program that follows the boot.
type Stages struct {
	Log    *Logger
	Report *Report

	mu     sync.Mutex
	events *os.File
}

// OpenEvents opens the tty.
func (s *Stages) OpenEvents(tty string) error {
	// Not blocking, so that a line can have a deadline.
	f, err := os.OpenFile(filepath.Join("/dev", tty), os.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	s.events = f
	return nil
}

// Begin records the beginning of a stage that has no end here: the last one.
func (s *Stages) Begin(name, detail string) { s.event(name, "begin", clock.Uptime(), 0, detail) }

// Run runs one stage and records its beginning, its end and its time. An error of
// it is a *StageError.
func (s *Stages) Run(name string, run func() (string, error)) error {
	start := clock.Uptime()
	s.event(name, "begin", start, 0, "")
	detail, err := run()
	took := clock.Uptime() - start
	s.remember(name, start, took)
	if err != nil {
		s.event(name, "failed", start+took, took, err.Error())
		return &StageError{Stage: name, Err: err}
	}
	s.event(name, "done", start+took, took, detail)
	line := fmt.Sprintf("%s: %.3f s", name, took.Seconds())
	if detail != "" {
		line += ": " + detail
	}
	s.Log.Noticef("%s", line)
	return nil
}

func (s *Stages) event(name, state string, at, took time.Duration, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events == nil {
		return
	}
	text = oneLine(text)
	// A tty that takes no deadline blocks as ttys do.
	_ = s.events.SetWriteDeadline(time.Now().Add(eventTime))
	_, err := fmt.Fprintf(s.events, "sidusboot-stage %s %s %.3f %.3f %s\n", name, state, at.Seconds(), took.Seconds(), text)
	if err != nil {
		tty := s.events.Name()
		s.events.Close()
		s.events = nil
		s.Log.Errorf("%s has no reader: no more stages are written to it: %v", tty, err)
	}
}

// eventTime is how long a stage may wait for the reader of its events.
const eventTime = 2 * time.Second

func (s *Stages) remember(name string, start, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stage := Stage{Name: name, Start: milli(start), Took: milli(took), Tries: 1}
	for i := range s.Report.Stages {
		if s.Report.Stages[i].Name == name {
			stage.Tries = s.Report.Stages[i].Tries + 1
			s.Report.Stages[i] = stage
			return
		}
	}
	s.Report.Stages = append(s.Report.Stages, stage)
}

func milli(d time.Duration) float64 {
	return float64(d.Milliseconds()) / 1000
}

// A StageError says in which stage the boot failed.
type StageError struct {
	Stage string
	Err   error
}

// Error names the stage, unless the package did that already.
func (e *StageError) Error() string {
	prefix := e.Stage + ": "
	return prefix + strings.TrimPrefix(e.Err.Error(), prefix)
}

func (e *StageError) Unwrap() error { return e.Err }
