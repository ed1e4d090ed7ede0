package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidusboot/sidusboot/config"
)

// Modules that never get loaded are waited for under the watchdog: it is said
// what the node waits for.
func TestLeaveResidentWatched(t *testing.T) {
	log := &logger{kmsg: discard(t)}
	synctest.Test(t, func(t *testing.T) {
		n := newNode(log)
		n.cfg.LeaseOwner, n.report.RW.Kind = config.OwnerTree, "tmpfs" // Nothing stays.
		n.loaded = make(chan struct{})
		done := make(chan error, 1)
		go func() { done <- n.leaveResident() }()
		time.Sleep(firstWord + time.Second)
		if text := log.text(); !strings.Contains(text, "resident: waiting for the modules that load in the background since 5s") {
			t.Errorf("said: %s", text)
		}
		close(n.loaded)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
