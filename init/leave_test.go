package main

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
)

// Modules that never get loaded are waited for under the watchdog: it is said
// what the node waits for.
func TestLeaveResidentWatched(t *testing.T) {
	log := &bootlog.Logger{Kmsg: discard(t)}
	synctest.Test(t, func(t *testing.T) {
		n := newNode(log)
		n.loaded = make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer n.watchOver("resident")()
			n.awaitModules() // Not startResident, which would mount something here.
		}()
		time.Sleep(6 * time.Second)
		if text := log.Text(); !strings.Contains(text, "resident: waiting for the modules that load in the background (5s so far)") {
			t.Errorf("said: %s", text)
		}
		close(n.loaded)
		<-done
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
