package resident

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/sidusnode"
)

// The keeper has the tree looked at once a minute: by a process of its own in PID
// 1's mount namespace, because the keeper must not touch the tree. A timer of
// systemd's could not do it: systemd reads a part of itself from the root to start
// a program, and there is none under another init.
const (
	lookPeriod = time.Minute
	// lookLimit is what one look gets; its own limits are shorter.
	lookLimit = 50 * time.Second
	lookStep  = "look"
)

// lookAfter has the tree looked at in this second of each minute: the nodes of a
// site that were switched on together do not look at the same moment.
func lookAfter(second time.Duration, log Log) error {
	said := ""
	for {
		now := clock.Uptime() % lookPeriod
		time.Sleep((second-now+lookPeriod)%lookPeriod + time.Second)
		text := ""
		if err := residentStep(lookLimit, lookStep); err != nil {
			text = err.Error()
		}
		if text != "" && text != said {
			log.Errorf("check the tree for changes: %s", text)
		}
		said = text
	}
}

// residentStep runs a step of the resident processes. When its time is over it is killed,
// and waited for: while one is stuck in the kernel no other is started. (shutdownStep
// does not wait.)
func residentStep(limit time.Duration, step ...string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := startStep(residentName, null, null, step)
	if err != nil {
		return err
	}
	timer := time.AfterFunc(limit, func() {
		defer panics.Ignore()
		_ = p.Kill()
	})
	defer timer.Stop()
	state, err := p.Wait()
	if err == nil && !state.Success() {
		return &exitError{state.String()}
	}
	return err
}

// An exitError says that a step has failed or was killed.
type exitError struct{ state string }

func (e *exitError) Error() string { return e.state }

// runLook becomes sidusnode, in PID 1's mount namespace.
func runLook() error {
	if err := asOthers(); err != nil {
		return err
	}
	if err := enterInitWithProgram(); err != nil {
		return err
	}
	return unix.Exec(Program, []string{sidusnode.Name, sidusnode.WatchVerb}, othersEnv)
}

// asOthers takes from this process what it has of the keeper.
func asOthers() error {
	_ = unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0)
	return os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)
}

// writeLeases writes the leases of a state for sidusnode, in the root of the resident
// processes.
func writeLeases(state string) error {
	var b strings.Builder
	for line := range strings.Lines(state) {
		if lease, ok := strings.CutPrefix(line, leaseLine); ok {
			b.WriteString(lease)
		}
	}
	return sidusnode.ReplaceFile("/"+filepath.Base(sidusnode.LeasesFile), b.String(), 0o600)
}
