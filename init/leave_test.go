package main

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/config"
)

// Modules that never get loaded are waited for under the watchdog: it is said
// what the node waits for.
func TestLeaveResidentWatched(t *testing.T) {
	log := &bootlog.Logger{Kmsg: discard(t)}
	synctest.Test(t, func(t *testing.T) {
		n := newNode(log)
		n.cfg.LeaseOwner, n.report.RW.Kind = config.OwnerTree, "tmpfs" // Nothing stays.
		n.loaded = make(chan struct{})
		done := make(chan error, 1)
		go func() { done <- n.leaveResident() }()
		time.Sleep(6 * time.Second)
		if text := log.Text(); !strings.Contains(text, "resident: waiting for the modules that load in the background since 5s") {
			t.Errorf("said: %s", text)
		}
		close(n.loaded)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func discard(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
