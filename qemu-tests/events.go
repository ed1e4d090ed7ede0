package qemutests

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// EventParam, on the kernel command line, makes /init tell its stages on the
// port where the lab listens.
const EventParam = "sidus.events=ttyS1"

// The states of a stage.
const (
	Begin  = "begin"
	Done   = "done"
	Failed = "failed"
)

// An Event is a step of /init: one stage begins, is done or failed.
type Event struct {
	Stage, State string
	// Uptime is the guest's clock since its kernel started.
	Uptime time.Duration
	// Took is how long the stage took; 0 at its beginning.
	Took time.Duration
	// Text is whatever else the stage said.
	Text string
}

// parseEvent reads one line of the event port; ok is false for other lines:
// the kernel or a shell may write there as well.
func parseEvent(line string) (e Event, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "sidusboot-stage" {
		return Event{}, false
	}
	e = Event{Stage: fields[1], State: fields[2]}
	for i, d := range []*time.Duration{&e.Uptime, &e.Took} {
		seconds, err := strconv.ParseFloat(fields[3+i], 64)
		if err != nil {
			return Event{}, false
		}
		*d = time.Duration(seconds * float64(time.Second)).Round(time.Microsecond)
	}
	rest := strings.TrimSpace(line)
	for range 5 {
		_, rest, _ = strings.Cut(strings.TrimLeft(rest, " \t"), " ")
	}
	e.Text = strings.TrimSpace(rest)
	return e, true
}

// parseEvents reads the whole lines of the event port.
func parseEvents(text string) []Event {
	end := strings.LastIndexByte(text, '\n')
	var events []Event
	for line := range strings.Lines(text[:end+1]) {
		if e, ok := parseEvent(line); ok {
			events = append(events, e)
		}
	}
	return events
}

// Events are those that the guest has told so far.
func (g *Guest) Events() []Event { return parseEvents(g.events.String()) }

// WaitStage waits until the guest tells that a stage is in a state.
func (g *Guest) WaitStage(ctx context.Context, stage, state string) (Event, error) {
	return g.WaitStageAgain(ctx, stage, state, 1)
}

// WaitStageAgain is WaitStage for the n-th time that it is so.
func (g *Guest) WaitStageAgain(ctx context.Context, stage, state string, n int) (Event, error) {
	ctx, cancel := g.lab.bounded(ctx, "stage "+stage+" "+state)
	defer cancel()
	for {
		text, changed, ended := g.events.state()
		events := parseEvents(string(text))
		seen := 0
		for _, e := range events {
			if e.Stage != stage || e.State != state {
				continue
			}
			if seen++; seen == n {
				return e, nil
			}
		}
		_, console, _ := g.console.state()
		err := g.trouble()
		if err == nil && ended {
			err = fmt.Errorf("guest ended")
		}
		if err == nil {
			select {
			case <-changed:
				continue
			case <-console: // perhaps a panic
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		last := "none"
		if len(events) > 0 {
			last = fmt.Sprintf("%+v", events[len(events)-1])
		}
		return Event{}, g.explain(fmt.Errorf("waiting for stage %s %s (last event: %s): %w", stage, state, last, err))
	}
}
