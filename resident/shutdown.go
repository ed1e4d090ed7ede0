package resident

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/panics"
)

// oldRoot is where systemd-shutdown puts the root that it has left.
const oldRoot = "/oldroot"

// Limits of the shutdown. All of it has to fit in 60 s, also with a target
// that does not come back.
const (
	unmountTime = 15 * time.Second
	syncTime    = 15 * time.Second
	logoutTime  = 8 * time.Second
)

// verbs are what systemd-shutdown asks for, in argv[1].
var verbs = map[string]int{
	"poweroff": unix.LINUX_REBOOT_CMD_POWER_OFF,
	"halt":     unix.LINUX_REBOOT_CMD_HALT,
	"reboot":   unix.LINUX_REBOOT_CMD_RESTART,
	"kexec":    unix.LINUX_REBOOT_CMD_KEXEC,
}

// Shutdown is the end of the node: systemd has stopped everything, moved the
// root to /oldroot and run this as PID 1. The union is taken apart from the
// top, the LUN's file system is written out, the session is logged out, and
// then the verb is carried out, whatever went wrong before.
func Shutdown(args []string, log Log) {
	defer func() {
		if p := recover(); p != nil {
			log.Errorf("BUG in sidusboot's shutdown, please report it: %v", p)
		}
		act(log, args)
	}()
	takeApart(log)
	if err := shutdownStep(syncTime, "sync"); err != nil {
		log.Errorf("sync: %v", err)
	}
	if err := endSession(log); err != nil {
		log.Errorf("%v", err)
	}
}

func act(log Log, args []string) {
	verb := "poweroff"
	if len(args) > 0 {
		verb = args[0]
	}
	cmd, ok := verbs[verb]
	if !ok {
		log.Errorf("unknown verb %q: rebooting instead", verb)
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	log.Noticef("%s", verb)
	if err := unix.Reboot(cmd); err != nil {
		log.Errorf("%s: %v: rebooting instead", verb, err)
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	clock.SleepForever()
}

// takeApart unmounts all that is below oldRoot, from the leaves on. What holds
// data is waited for, each for a while; the rest is only detached: a server that
// does not answer must not delay the node, nor the keeper, which is below /run.
func takeApart(log Log) {
	all, err := mounts.Read("/proc/self/mountinfo")
	if err != nil {
		log.Errorf("%v", err)
		all = []mounts.Point{{Dir: oldRoot, Data: true}}
	}
	for _, m := range mounts.LeavesFirst(all) {
		if m.Dir != oldRoot && !strings.HasPrefix(m.Dir, oldRoot+"/") {
			continue
		}
		if m.Data {
			if err = shutdownStep(unmountTime, "unmount", m.Dir); err == nil {
				continue
			}
			// Still in use, or no answer from its disk: out of the way with it.
			log.Errorf("unmount %s (%s): %v", m.Dir, m.Type, err)
		}
		if err := unix.Unmount(m.Dir, unix.MNT_DETACH); err != nil {
			log.Errorf("detach %s (%s): %v", m.Dir, m.Type, err)
		}
	}
}

// endSession stops the keeper, so that it does not log in again, and logs out.
func endSession(log Log) error {
	state, err := os.ReadFile("/" + sessionFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil // No LUN.
	}
	if err != nil {
		return err
	}
	if err := stopAll(KeeperName, GuardName); err != nil {
		log.Errorf("%v", err)
	}
	s, err := decodeSession(string(state))
	if err != nil {
		return err
	}
	session, err := s.adopt()
	if err != nil {
		return err
	}
	if state, err := session.State(); err == nil && state == iscsi.LoggedIn {
		if err := s.release(); err != nil {
			log.Errorf("the reservation of the volume was not released: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), logoutTime)
	defer cancel()
	select {
	case err := <-panics.Go(func() error { return session.Logout(ctx) }):
		return err
	case <-time.After(logoutTime):
		return fmt.Errorf("logout from %s: not finished after %v", s.Target.Name, logoutTime)
	}
}

// keeperEnd is what the resident processes get to be gone once they were killed.
// They may be in the middle of a request to the kernel.
const keeperEnd = 2 * time.Second

// stopAll ends the resident processes and waits until they are gone. They are
// stopped before they are killed: each of them would start the other again.
func stopAll(names ...string) error {
	for deadline := time.Now().Add(keeperEnd); ; time.Sleep(10 * time.Millisecond) {
		pids, err := processes(names...)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("stop the keeper: it still runs after %v", keeperEnd)
		}
		for _, sig := range []syscall.Signal{unix.SIGSTOP, unix.SIGKILL} {
			for _, pid := range pids {
				if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
					return fmt.Errorf("stop the keeper: %w", err)
				}
			}
		}
	}
}

// processes are those whose argv[0] is one of the names. One that has ended has
// none any more, whoever collects it.
func processes(names ...string) (pids []int, err error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, path := range lines {
		b, err := os.ReadFile(path)
		name, _, _ := strings.Cut(string(b), "\x00")
		if err != nil || !slices.Contains(names, name) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// maxOutput is how many bytes of what a step writes are read.
const maxOutput = 4096

// shutdownStep runs a step of the shutdown. When its time is over it is killed and not
// waited for: unmount(2) and sync(2) of a file system whose disk does not answer do not
// end, and the shutdown goes on. (residentStep waits.) What the step writes is its error.
func shutdownStep(limit time.Duration, step ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	p, err := startStep(ShutdownName, nil, w, step)
	w.Close()
	if err != nil {
		return err
	}
	var said []byte
	ended := panics.Go(func() (err error) {
		said, err = io.ReadAll(io.LimitReader(r, maxOutput))
		return err
	})
	select {
	case err := <-ended:
		state, waitErr := p.Wait()
		if err = errors.Join(err, waitErr); err == nil && !state.Success() {
			err = errors.New(strings.TrimSpace(string(said)))
		}
		return err
	case <-time.After(limit):
		_ = p.Kill()
		return fmt.Errorf("not finished after %v", limit)
	}
}

// startStep starts a step in a process of its own, by a name of this program in the
// root of the process.
func startStep(program string, input, output *os.File, step []string) (*os.Process, error) {
	return os.StartProcess("/"+program, append([]string{StepName}, step...), &os.ProcAttr{
		Dir: "/", Files: []*os.File{input, output, output}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// StepName is argv[0] of a process that runs one step.
const StepName = "@sidusboot-step"

// RunStep does the step that the arguments of such a process name.
func RunStep(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "unmount":
		return unix.Unmount(args[1], 0)
	case len(args) == 2 && args[0] == rearmStep:
		return runRearm(args[1])
	case len(args) == 1 && args[0] == lookStep:
		return runLook()
	case len(args) == 1 && args[0] == "sync":
		unix.Sync()
		return nil
	}
	return fmt.Errorf("unknown step %q", args)
}
