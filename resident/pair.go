package resident

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// Two processes of this program stay resident: the keeper works, the guard waits
// for the keeper's end and starts another. The keeper does the same for the
// guard. systemd could not do it: to start a program it reads a part of itself,
// which may lie on a server that is gone, and by the keeper's end on a disk that
// is gone too. Both have all that it takes in locked memory: the program, and
// the state with its secrets.
const (
	// KeeperName and GuardName are argv[0] of the two. They begin with '@', which keeps a process alive when
	// systemd kills all that is left (ROOT_STORAGE_DAEMONS).
	KeeperName = "@sidusboot-keeper"
	GuardName  = "@sidusboot-guard"
	// LogName is what the lines of both are to begin with in the kernel's log.
	LogName = "sidusboot-keeper"
)

// ready is the line that a process which was started says when it works. The state
// goes before it, to that process, up to an empty line.
const ready = "ready\n"

// readyTime is how long a process may take from its start until it is ready.
const readyTime = 30 * time.Second

// residentEnv keeps the resident set small.
var residentEnv = []string{"GOGC=20", "GOMEMLIMIT=8MiB", "GOMAXPROCS=1"}

// Run runs the keeper or the guard, by name and arguments. It returns the exit
// status. openLog opens the kernel's log, in this process's own /dev.
func Run(name string, args []string, openLog func() (Log, error)) (status int) {
	if len(args) == 1 && args[0] == firstGuard {
		if err := panics.Call(func() error { return guardFirst(openLog) }); err != nil {
			fmt.Fprintln(os.Stderr, err) // PID 1 reads it.
			return 1
		}
		return 0
	}
	log, err := openLog()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := panics.Call(func() error { return reside(name, log) }); err != nil {
		log.Error(err)
		return 1
	}
	return 0
}

// reside is Run for a process that its peer has started.
func reside(name string, log Log) error {
	unix.CloseOnExec(peerFD)
	// Not blocking, as it was made, so that it takes deadlines.
	p := newPeer(KeeperName, os.NewFile(peerFD, "peer"))
	state, err := p.receiveState()
	if err != nil {
		return err
	}
	if err := lockDown(); err != nil {
		return err
	}
	if name == KeeperName {
		p.name = GuardName
		return work(log, state, p)
	}
	if err := p.say(ready); err != nil { // It has ended meanwhile.
		log.Errorf("%v", err)
	}
	newStarter(KeeperName, state, log).attend(p, func(*peer) {})
	return nil
}

// guardFirst makes the file system in which the resident processes run, starts the
// keeper and tells PID 1 that all is well.
func guardFirst(openLog func() (Log, error)) error {
	b, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	if err := moveOut(); err != nil {
		return err
	}
	if err := lockDown(); err != nil {
		return err
	}
	log, err := openLog()
	if err != nil {
		return err
	}
	p, err := startPeer(KeeperName, string(b))
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(ready); err != nil {
		return err
	}
	if err := forgetPipes(); err != nil {
		return err
	}
	newStarter(KeeperName, string(b), log).attend(p, func(*peer) {})
	return nil
}

// forgetPipes closes the pipes to PID 1.
func forgetPipes() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer kmsg.Close()
	for fd, file := range []*os.File{null, null, kmsg} {
		if err := unix.Dup2(int(file.Fd()), fd); err != nil {
			return err
		}
	}
	return nil
}
