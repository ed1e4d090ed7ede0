package resident

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A shutdown that was ordered may be cancelled (systemctl cancel). The FIFO that
// told the order stays away then, and a keeper that knows of an order gives
// the volume of a running node up as soon as its target is gone for a while. So
// it asks systemd for the FIFO again and again. While the shutdown is on, systemd
// refuses that, because the job contradicts the one that is being done.
const (
	firstAsk = 10 * time.Second
	nextAsk  = 30 * time.Second
	// askTime is what systemctl gets.
	askTime = 30 * time.Second
)

// rearmStep is the step that asks.
const rearmStep = "rearm"

// askAgain asks for the FIFO when it is time, in the background. There is one
// question at a time: systemctl lies on the tree, and reading it may last until
// a server is back.
func (e *ending) askAgain() {
	now := e.now()
	if e.ask == nil || e.verb == "" || e.gaveUp != 0 || now < e.askAt || !e.asking.CompareAndSwap(false, true) {
		return
	}
	e.askAt = now + nextAsk
	verb := string(e.verb)
	e.k.log.Background(func() error {
		defer e.asking.Store(false)
		return e.ask(verb)
	})
}

// rearm runs the step in a process of its own: this one must not touch the tree.
func rearm(verb string) error {
	var ended *exitError
	if err := residentStep(askTime, rearmStep, verb); !errors.As(err, &ended) { // Its status says only whether the shutdown goes on.
		return err
	}
	return nil
}

// othersEnv is the environment of what runs in the root of PID 1.
var othersEnv = []string{"HOME=/", "TERM=linux", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

// runRearm becomes systemctl, in PID 1's root and with what every process has.
func runRearm(verb string) error {
	if _, known := verbs[verb]; !known {
		return fmt.Errorf("unknown verb %q", verb)
	}
	if err := asOthers(); err != nil {
		return err
	}
	if err := unix.Chroot("/proc/1/root"); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	args := []string{"systemctl", "--no-block", "--job-mode=fail", "start", orderUnit(verb)}
	return errors.Join(unix.Exec("/usr/bin/systemctl", args, othersEnv), unix.Exec("/bin/systemctl", args, othersEnv))
}

// openOrder tells the order that was given before the keeper looked: one FIFO is
// away, and the others are there. Before systemd has made them none is.
func openOrder(dir string) order {
	var away []order
	for verb := range verbs {
		if _, err := os.Lstat(filepath.Join(dir, verb)); err != nil {
			away = append(away, order(verb))
		}
	}
	if len(away) == 1 && len(verbs) > 1 {
		return away[0]
	}
	return ""
}
