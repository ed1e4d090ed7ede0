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
		"nothing to write":            {time.Second, time.Second, "FAILED", "abandon", 2 * time.Second},
		"the target is gone":          {24 * time.Hour, time.Second, "FAILED", "abandon", settleTime + time.Second},
		"not noticed yet":             {24 * time.Hour, time.Second, iscsi.LoggedIn, "abandon", settleTime + time.Second},
		"its disk does not let it go": {24 * time.Hour, 24 * time.Hour, "FAILED", "abandon", 2 * settleTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				did := make(chan string, 2)
				var v volume
				if test.state != "" {
					v = fakeVolume{test.state == iscsi.LoggedIn, func() error {
						did <- "abandon"
						time.Sleep(test.abandon)
						return nil
					}}
				}
				start := time.Now()
				settle(&bootlog.Logger{Name: "test"}, func() error { time.Sleep(test.sync); return nil }, v)
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

type fakeVolume struct {
	answers bool
	abandon func() error
}

func (v fakeVolume) Answers() bool  { return v.answers }
func (v fakeVolume) Abandon() error { return v.abandon() }
