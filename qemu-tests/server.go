package qemutests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Program is a server to be run in a lab.
type Program struct {
	// Name is for logs and messages.
	Name string
	// Argv is the command, which stays in the foreground.
	Argv []string
	// Ready tells whether the server answers; it is asked again and again. Nil:
	// the server is ready once it is started.
	Ready func(ctx context.Context) error
	// Says must be in the server's log, too, before it is ready.
	Says string
}

// A Server is a running Program.
type Server struct {
	name string
	lab  *Lab
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// readyTimeout is what a server gets to answer, unless it ends before. ganesha
// takes a second or two on a quiet machine.
const readyTimeout = defaultPatience

// Start runs a program in the lab and waits until it is ready. Its output goes
// to a log in the lab.
func (l *Lab) Start(ctx context.Context, p Program) (*Server, error) {
	s := &Server{name: l.name(p.Name), lab: l, done: make(chan struct{})}
	s.log = l.Path(filepath.Join(labDir, s.name+".log"))
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	defer out.Close()
	s.cmd = exec.Command(p.Argv[0], p.Argv[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := l.ns.start(s.cmd); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	l.mu.Lock()
	l.servers = append(l.servers, s)
	l.mu.Unlock()

	if err := s.waitReady(ctx, p.ready(s)); err != nil {
		s.Stop()
		return nil, fmt.Errorf("%s: %w; its log:\n%s", s.name, err, lastLines(s.Log(), 40))
	}
	l.watch.progress("the start of " + s.name)
	l.logf("%s started", s.name)
	return s, nil
}

// ready is what a started server must fulfil: Ready, and its log has Says in it.
func (p Program) ready(s *Server) func(context.Context) error {
	if p.Says == "" {
		return p.Ready
	}
	return func(ctx context.Context) error {
		if !strings.Contains(s.Log(), p.Says) {
			return fmt.Errorf("its log does not say %q", p.Says)
		}
		if p.Ready == nil {
			return nil
		}
		return p.Ready(ctx)
	}
}

// waitReady polls ready until it succeeds, the server ends or time is up.
func (s *Server) waitReady(ctx context.Context, ready func(context.Context) error) error {
	if ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("ended at once: %v", s.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("does not answer: %w (%w)", err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Log is what the server has printed so far.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	return string(b)
}

// CPU is the processor time that the server has had so far, also in threads that
// have ended.
func (s *Server) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	return processTime(string(b))
}

// processTime is what proc_pid_stat(5) has of a process's time.
func processTime(stat string) (time.Duration, error) {
	// The name, in brackets, may have blanks and brackets in it.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const utime, tick = 14 - 3, 10 * time.Millisecond // Fields count from 1, and two came before.
	if len(fields) < utime+2 {
		return 0, fmt.Errorf("process status %q has no times", stat)
	}
	var ticks [2]int64
	for i := range ticks {
		n, err := strconv.ParseInt(fields[utime+i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process status %q: %w", stat, err)
		}
		ticks[i] = n
	}
	return time.Duration(ticks[0]+ticks[1]) * tick, nil
}

// Stop ends the server: by SIGTERM, after 30 s by SIGKILL. A server that has ended by itself
// is no error.
func (s *Server) Stop() error {
	select {
	case <-s.done:
		return nil
	default:
	}
	if err := s.signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.done:
		s.lab.logf("%s stopped", s.name)
		return nil
	case <-time.After(30 * time.Second):
	}
	return s.Kill()
}

// Kill ends the server as a power cut would.
func (s *Server) Kill() error {
	if err := s.signal(unix.SIGKILL); err != nil {
		return err
	}
	<-s.done
	s.lab.logf("%s killed", s.name)
	return nil
}

// Pause stops the server without closing anything: clients see silence.
func (s *Server) Pause() error { return s.signal(unix.SIGSTOP) }

// Resume undoes Pause.
func (s *Server) Resume() error { return s.signal(unix.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	err := s.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %v: %w", s.name, sig, err)
	}
	return nil
}

// listening is a Ready that wants a TCP port open on every address.
func (l *Lab) listening(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		out, err := l.Output(ctx, "ss", "-Hltn", fmt.Sprintf("sport = %d", port))
		if err != nil {
			return err
		}
		if out == "" {
			return fmt.Errorf("nothing listens on TCP port %d", port)
		}
		return nil
	}
}

// lastLines is the end of a log.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
