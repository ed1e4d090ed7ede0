package resident

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
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

// What one says to the other, a line each. The state goes before it, to the one
// that was started, up to an empty line.
const (
	// ready: it has settled down and works.
	ready = "ready\n"
	// over: nothing is left to keep, and no process has to be started again.
	over = "over\n"
)

// readyTime is what a process gets from its start until it is ready.
const readyTime = 30 * time.Second

// residentEnv keeps the resident set small.
var residentEnv = []string{"GOGC=20", "GOMEMLIMIT=8MiB", "GOMAXPROCS=1"}

// A peer is the other one of the two.
type peer struct {
	name string
	conn *os.File
	in   *bufio.Reader
	// process is nil where the peer has started this one.
	process *os.Process
	// learn, which may be nil, is told of a lease that was renewed, and logf of
	// what was found strange.
	learn func(line string)
	logf  func(format string, args ...any)
}

func newPeer(name string, conn *os.File) *peer {
	return &peer{name: name, conn: conn, in: bufio.NewReader(conn)}
}

// startPeer starts the other one and waits until it is ready.
func startPeer(name, state string) (*peer, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	p, theirs := newPeer(name, os.NewFile(uintptr(fds[0]), name)), os.NewFile(uintptr(fds[1]), name)
	p.process, err = startResident(name, theirs)
	theirs.Close()
	if err == nil {
		err = p.hand(state)
	}
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// peerFD is the descriptor of the connection in a process that was started.
const peerFD = 3

// startResident starts a process and gives it the connection. What the Go
// runtime has to say at a sudden end goes to the kernel's log.
func startResident(name string, conn *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer kmsg.Close()
	return os.StartProcess("/"+residentName, []string{name}, &os.ProcAttr{
		Dir: "/", Env: residentEnv, Files: []*os.File{null, null, kmsg, conn}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// hand gives the state to a process that was started, and waits until it is
// ready.
func (p *peer) hand(state string) error {
	if err := p.conn.SetDeadline(time.Now().Add(readyTime)); err != nil {
		return err
	}
	if _, err := p.conn.WriteString(state + "\n"); err != nil {
		return fmt.Errorf("hand over the state: %w", err)
	}
	said, err := p.in.ReadString('\n')
	if said != ready {
		return errors.Join(fmt.Errorf("it does not get ready, says %q", said), err)
	}
	return p.conn.SetDeadline(time.Time{})
}

// state reads what hand gives.
func (p *peer) state() (string, error) {
	var b strings.Builder
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("read what is to be kept: %w", err)
		}
		if line == "\n" {
			return b.String(), nil
		}
		b.WriteString(line)
	}
}

func (p *peer) say(word string) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(readyTime)); err != nil {
		return err
	}
	_, err := p.conn.WriteString(word)
	return err
}

// lookTime is how often it is looked whether the peer is dying.
const lookTime = 5 * time.Second

// await waits for the end of the peer, and tells whether that was meant. The
// connection is closed when the last thread has ended, and one may be in the
// kernel and wait for the disk: for another keeper to bring that back.
func (p *peer) await() (meant bool) {
	pid := p.pid()
	for {
		if err := p.conn.SetReadDeadline(time.Now().Add(lookTime)); err != nil {
			return meant
		}
		line, err := p.in.ReadString('\n')
		switch {
		case line == over:
			meant = true
		case err == nil && p.learn != nil && strings.HasPrefix(line, leaseLine):
			p.learn(line)
		case errors.Is(err, os.ErrDeadlineExceeded) && stopped(pid):
			if err := unix.Kill(pid, unix.SIGCONT); err == nil && p.logf != nil {
				p.logf("%s was stopped by a signal of an unknown sender: it is told to go on", p.name)
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && !dying(pid):
		case err != nil:
			return meant
		}
	}
}

// pid is the peer's process: the one that was started, or the one that made the
// connection to start this one.
func (p *peer) pid() int {
	if p.process != nil {
		return p.process.Pid
	}
	pid := 0
	if raw, err := p.conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				pid = int(cred.Pid)
			}
		})
	}
	return pid
}

// stopped tells whether a process was sent SIGSTOP. One that is being
// traced is left alone.
func stopped(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && strings.Contains(string(status), "\nState:\tT ")
}

// dying tells whether a process runs no program any more (proc_pid_status(5)):
// its first thread has ended, or is to end as soon as it leaves the kernel.
func dying(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "State":
			if strings.HasPrefix(value, "Z") || strings.HasPrefix(value, "X") {
				return true
			}
		case "SigPnd":
			mask, err := strconv.ParseUint(value, 16, 64)
			return err == nil && mask&(1<<(unix.SIGKILL-1)) != 0
		}
	}
	return false
}

// endTime is what a process that was killed gets to be collected.
const endTime = 2 * time.Second

// end collects the peer, which has ended or is to: two keepers would work
// against each other.
func (p *peer) end() error {
	if p.process == nil {
		return p.conn.Close()
	}
	// First, or it would see the end of this connection and start another one.
	err := p.process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	err = errors.Join(err, p.conn.Close())
	var state *os.ProcessState
	select {
	case waited := <-panics.Go(func() (err error) {
		state, err = p.process.Wait()
		return err
	}):
		if err = errors.Join(err, waited); err == nil && !state.Success() {
			err = errors.New(state.String())
		}
		return err
	case <-time.After(endTime): // It runs no program any more, and is collected later.
		return errors.Join(err, errors.New("it was killed, and waits in the kernel"))
	}
}

// A starter starts the peer again, for as long as it takes.
type starter struct {
	name string
	log  Log
	// mu is for state.
	mu    sync.Mutex
	state string
	start func(name, state string) (*peer, error)
	sleep func(time.Duration)
	now   func() time.Duration

	last, pause time.Duration // of the last start
}

func newStarter(name, state string, log Log) *starter {
	return &starter{name: name, state: state, log: log, start: startPeer, sleep: time.Sleep, now: clock.Uptime}
}

const (
	// calmTime is how long a peer has to have lived for the next start to come
	// without a pause; the pauses double from firstPause to maxPause.
	calmTime   = time.Minute
	firstPause = time.Second
	maxPause   = time.Minute
	// sayAgain is how often the same failure is told.
	sayAgain = 10 * time.Minute
)

// learn takes a lease that was renewed into the state: who is started again is to
// know when it runs out.
func (s *starter) learn(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = withLease(s.state, line)
}

func (s *starter) known() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// again starts the peer, after a pause where the last one has not lived long.
func (s *starter) again() *peer {
	said, saidAt := "", time.Duration(0)
	for {
		if s.last != 0 && s.now()-s.last < calmTime {
			s.pause = min(max(2*s.pause, firstPause), maxPause)
			s.sleep(s.pause)
		} else {
			s.pause = 0
		}
		s.last = s.now()
		p, err := s.start(s.name, s.known())
		if err == nil {
			s.log.Errorf("%s runs again", s.name)
			return p
		}
		if text := err.Error(); text != said || s.now()-saidAt > sayAgain {
			s.log.Errorf("%s CANNOT BE STARTED AGAIN, trying again; until it runs the node's leases are not renewed, and nothing logs in again to the target of its volume: %v", s.name, err)
			said, saidAt = text, s.now()
		}
	}
}

// attend waits for the ends of the peer and starts it again, until an end is
// meant. use is told each new one.
func (s *starter) attend(p *peer, use func(*peer)) {
	for {
		p.learn, p.logf = s.learn, s.log.Errorf
		meant := p.await()
		err := p.end()
		if meant {
			return
		}
		if err == nil {
			err = errors.New("exit status 0")
		}
		s.log.Errorf("%s HAS ENDED (%v): starting it again", s.name, err)
		p = s.again()
		use(p)
	}
}

// Run is the life of both, by their names and arguments. It returns the exit
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
	state, err := p.state()
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

// guardFirst makes the place where the resident processes live, starts the
// keeper and tells PID 1 that all is well.
func guardFirst(openLog func() (Log, error)) error {
	b, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fmt.Errorf("read what is to be kept: %w", err)
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

// forgetPipes lets go of the pipes to PID 1.
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

// A currentPeer is the peer of a keeper, which may become another one.
type currentPeer struct {
	mu sync.Mutex
	p  *peer
}

func (c *currentPeer) set(p *peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.p = p
}

func (c *currentPeer) say(word string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.p.say(word)
}
