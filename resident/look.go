package resident

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// lookAfter has the tree looked at in this second of each minute: a room whose
// nodes were switched on together does not look at once.
func lookAfter(second time.Duration, log Log) error {
	said := ""
	for {
		now := clock.Uptime() % lookPeriod
		time.Sleep((second-now+lookPeriod)%lookPeriod + time.Second)
		text := ""
		if err := stepWithin(lookLimit, lookStep); err != nil {
			text = err.Error()
		}
		if text != "" && text != said {
			log.Errorf("look at the tree: %s", text)
		}
		said = text
	}
}

// stepWithin runs a step in a process of its own, which gets a time, and waits for
// its end: one that hangs in the kernel is not joined by others.
func stepWithin(limit time.Duration, step ...string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess("/"+residentName, append([]string{StepName}, step...), &os.ProcAttr{
		Dir: "/", Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
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

// leaveLeases writes the leases of a state down for sidusnode, whole or not at
// all, in the root of the resident processes.
func leaveLeases(state string) error {
	var b strings.Builder
	for line := range strings.Lines(state) {
		if lease, ok := strings.CutPrefix(line, leaseLine); ok {
			b.WriteString(lease)
		}
	}
	name := "/" + filepath.Base(sidusnode.LeasesFile)
	if err := os.WriteFile(name+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
