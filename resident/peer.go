package resident

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// A peer is the other one of the two.
type peer struct {
	name string
	conn *os.File
	in   *bufio.Reader
	// process is nil where the peer has started this one.
	process *os.Process
	// learn, which may be nil, is told of a lease that was renewed, and logf of
	// what was not expected.
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
		err = p.sendState(state)
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

// sendState gives the state to a process that was started, and waits until it is
// ready.
func (p *peer) sendState(state string) error {
	if err := p.conn.SetDeadline(time.Now().Add(readyTime)); err != nil {
		return err
	}
	if _, err := p.conn.WriteString(state + "\n"); err != nil {
		return fmt.Errorf("send the state: %w", err)
	}
	said, err := p.in.ReadString('\n')
	if said != ready {
		return errors.Join(fmt.Errorf("it is not ready: its answer is %q", said), err)
	}
	return p.conn.SetDeadline(time.Time{})
}

// receiveState reads what sendState sent.
func (p *peer) receiveState() (string, error) {
	var b strings.Builder
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("read the state: %w", err)
		}
		if line == "\n" {
			return b.String(), nil
		}
		b.WriteString(line)
	}
}

func (p *peer) say(message string) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(readyTime)); err != nil {
		return err
	}
	_, err := p.conn.WriteString(message)
	return err
}

// lookTime is how often it is checked whether the peer is ending.
const lookTime = 5 * time.Second

// await waits for the end of the peer. The connection is closed when the last thread has ended, and one may be in the
// kernel and wait for the disk: for another keeper to bring that back.
func (p *peer) await() {
	pid := p.pid()
	for {
		if err := p.conn.SetReadDeadline(time.Now().Add(lookTime)); err != nil {
			return
		}
		line, err := p.in.ReadString('\n')
		switch {
		case err == nil && p.learn != nil && strings.HasPrefix(line, leaseLine):
			p.learn(line)
		case errors.Is(err, os.ErrDeadlineExceeded) && stopped(pid):
			if err := unix.Kill(pid, unix.SIGCONT); err == nil && p.logf != nil {
				p.logf("%s was stopped by a signal of an unknown sender: it is continued (SIGCONT)", p.name)
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && !dying(pid):
		case err != nil:
			return
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

// endTime is how long the end of a process that was killed is waited for.
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
		return errors.Join(err, errors.New("it was killed, but is still blocked in the kernel"))
	}
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

func (c *currentPeer) say(message string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.p.say(message)
}
