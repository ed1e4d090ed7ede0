package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/iscsi"
)

// What cannot be written, to a target that is gone, does not keep a node from its
// restart: the session is given up, after the last login on it has ended.
func TestSettle(t *testing.T) {
	for name, test := range map[string]struct {
		sync, abandon time.Duration
		state         string
		did           string
		limit         time.Duration
	}{
		"well":                        {time.Second, 0, iscsi.LoggedIn, "", time.Second},
		"no volume":                   {24 * time.Hour, 0, "", "", settleTime},
		"nothing to write":            {time.Second, time.Second, "FAILED", "untend abandon", 2 * time.Second},
		"the target is gone":          {24 * time.Hour, time.Second, "FAILED", "untend abandon", settleTime + time.Second},
		"not noticed yet":             {24 * time.Hour, time.Second, iscsi.LoggedIn, "untend abandon", settleTime + time.Second},
		"its disk does not let it go": {24 * time.Hour, 24 * time.Hour, "FAILED", "untend abandon", 2 * settleTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				did := make(chan string, 2)
				n := newNode(&bootlog.Logger{Name: "test"})
				if test.state != "" {
					n.lun = &lun{
						state:   func() (string, error) { return test.state, nil },
						untend:  func() { did <- "untend" },
						abandon: func() error { did <- "abandon"; time.Sleep(test.abandon); return nil },
					}
				}
				start := time.Now()
				n.settle(func() error { time.Sleep(test.sync); return nil })
				took := time.Since(start)
				var all []string
				for len(did) > 0 {
					all = append(all, <-did)
				}
				if took != test.limit || strings.Join(all, " ") != test.did {
					t.Errorf("it took %v and did %q, want %v and %q", took, all, test.limit, test.did)
				}
				time.Sleep(48 * time.Hour) // synctest waits for all of them.
			})
		})
	}
}
