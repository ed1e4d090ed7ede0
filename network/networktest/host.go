package networktest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Host is a namespace with servers in it.
type Host struct {
	t   *testing.T
	pid int
	dir string
}

// Host makes another host on the switch.
func (n *Net) Host(name, addr string) *Host {
	n.t.Helper()
	h := n.newHost(name)
	h.Run(fmt.Sprintf("ip link add eth0 type veth peer name h-%s netns %d", name, n.Server.pid))
	n.Server.Run("ip link set h-" + name + " master " + bridge + " up")
	h.Run("ip addr add " + addr + " dev eth0; ip link set eth0 up")
	return h
}

func (n *Net) newHost(name string) *Host {
	n.t.Helper()
	cmd := exec.Command("sleep", "infinity")
	// No Pdeathsig: it comes when the thread ends that started the program, and threads
	// end here (Do). The end of the process namespace ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	dir := filepath.Join(n.t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		n.t.Fatal(err)
	}
	h := &Host{t: n.t, pid: cmd.Process.Pid, dir: dir}
	h.Run("ip link set lo up")
	return h
}

// Run runs a shell command on the host and returns what it prints.
func (h *Host) Run(command string) string {
	h.t.Helper()
	return run(h.t, "exec nsenter -t "+strconv.Itoa(h.pid)+" -n sh -ec '"+strings.ReplaceAll(command, "'", `'\''`)+"'")
}

// Run runs a shell command on the node.
func (n *Net) Run(command string) string {
	n.t.Helper()
	return run(n.t, command)
}

func run(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Do calls f on a thread that is on the host: what f opens stays there.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // For good: the thread ends with the goroutine.
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", h.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- err
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// A Server is a running program.
type Server struct {
	t    *testing.T
	cmd  *exec.Cmd
	mu   sync.Mutex
	log  bytes.Buffer
	done chan struct{}
}

// Write appends to the log.
func (s *Server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

// Log is what the program has printed so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Stop ends the program.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Start starts a program on the host. It ends with the test.
func (h *Host) Start(argv ...string) *Server {
	h.t.Helper()
	s := &Server{t: h.t, done: make(chan struct{})}
	s.cmd = exec.Command("nsenter", append([]string{"-t", strconv.Itoa(h.pid), "-n"}, argv...)...)
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.done)
	}()
	h.t.Cleanup(func() {
		s.Stop()
		if h.t.Failed() {
			h.t.Logf("output of %s:\n%s", argv[0], s.Log())
		}
	})
	return s
}

// DNSMasq starts a DHCP and name server on the host, with further arguments, and
// waits until it is ready.
func (h *Host) DNSMasq(args ...string) *Server {
	h.t.Helper()
	pidFile := filepath.Join(h.dir, "dnsmasq.pid")
	_ = os.Remove(pidFile)
	s := h.Start(append([]string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--log-facility=-", "--log-dhcp",
		"--no-resolv", "--no-hosts", "--no-ping", "--pid-file=" + pidFile, "--dhcp-leasefile=" + filepath.Join(h.dir, "leases")}, args...)...)
	h.wait(s, func() bool { _, err := os.Stat(pidFile); return err == nil })
	return s
}

func (h *Host) wait(s *Server, ready func() bool) {
	h.t.Helper()
	for range 200 {
		if ready() {
			return
		}
		select {
		case <-s.done:
			h.t.Fatalf("it ended at once: %s", s.Log())
		case <-time.After(25 * time.Millisecond):
		}
	}
	h.t.Fatalf("it is not ready: %s", s.Log())
}

// Listen accepts and closes TCP connections to a port of the host, as a server
// that is reached does.
func (h *Host) Listen(network string, port int) {
	h.t.Helper()
	var fd int
	err := h.Do(func() (err error) {
		family, any := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: port})
		if network == "tcp6" {
			family, any = unix.AF_INET6, &unix.SockaddrInet6{Port: port}
		}
		if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(fd, any); err != nil {
			return err
		}
		return unix.Listen(fd, 16)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Shutdown(fd, unix.SHUT_RDWR) })
	go func() {
		for {
			c, _, err := unix.Accept(fd)
			if err != nil {
				return
			}
			_ = unix.Close(c)
		}
	}()
}
