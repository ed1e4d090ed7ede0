// Package networktest gives a test the network of one node: a network namespace
// in which the whole test process runs, as /init does on a node, with cables
// into a switch, and hosts behind it that run real servers.
//
//	func TestX(t *testing.T) {
//		networktest.Isolated(t, func() {
//			n := networktest.New(t)
//			n.Plug("eth0", networktest.Cable{})
//			n.Server.DNSMasq("--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h")
//			…
//		})
//	}
//
// It needs root, iproute2 and, for DNSMasq, dnsmasq.
package networktest

import (
	"bytes"
	"flag"
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

// isolated holds, in the process that Isolated starts, the mount namespace of
// the one that started it.
const isolated = "SIDUSBOOT_TEST_NAMESPACE"

// Isolated runs the test once more, alone, in a process of its own with network
// and mount namespaces of its own, and calls test there. Goroutines run on any
// thread, and only in this way all threads are in the same namespace. In the first
// process the test ends as it ended there, and what it covered is counted.
func Isolated(t *testing.T, test func()) {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	if outer := os.Getenv(isolated); outer != "" {
		if outer == own {
			t.Fatalf("%s is set, but this is the machine's own mount namespace", isolated)
		}
		mountOwn(t)
		test()
		return
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+quote(part)+"$")
	}
	args := []string{"-test.run=" + strings.Join(pattern, "/"), "-test.v", "-test.count=1", "-test.timeout=5m"}
	covered := ""
	if testing.CoverMode() != "" {
		covered = t.TempDir()
		args = append(args, "-test.gocoverdir="+covered)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), isolated+"="+own)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL,
	}
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	name := t.Name()
	if covered != "" {
		addCoverage(t, covered)
	}
	switch {
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP: "+name)):
		t.Skipf("%s", out)
	case !bytes.Contains(out, []byte("--- PASS: "+name)):
		t.Fatalf("it did not run:\n%s", out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

// coverage protects the flag that addCoverage sets.
var coverage sync.Mutex

// addCoverage adds the counters in a directory to those of this process: package
// testing reads everything in the directory of -test.gocoverdir when it ends. A
// process that ends while another one writes there would read half a file, so
// each has a directory of its own first.
func addCoverage(t *testing.T, dir string) {
	t.Helper()
	coverage.Lock()
	defer coverage.Unlock()
	all := flag.Lookup("test.gocoverdir")
	if all.Value.String() == "" {
		// Beside the test's program, which go test removes in the end.
		to, err := os.MkdirTemp(filepath.Dir(os.Args[0]), "coverage")
		if err != nil {
			t.Fatal(err)
		}
		if err := all.Value.Set(to); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(all.Value.String(), f.Name()), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// quote makes of a test's name an expression that fits it alone.
func quote(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\.+*?()|[]{}^$`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// mountOwn gives the namespaces a /proc and a /sys of their own.
func mountOwn(t *testing.T) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for dir, fstype := range map[string]string{"/proc": "proc", "/sys": "sysfs"} {
		if err := unix.Mount(fstype, dir, fstype, 0, ""); err != nil {
			t.Fatalf("mount %s: %v", dir, err)
		}
	}
}

// A Net is a switch, the node's cables into it, and hosts.
type Net struct {
	t *testing.T
	// Server is the switch and a host with ServerAddr and ServerAddr6 in one.
	Server *Host
	cables int
}

// The addresses of Net.Server.
const (
	ServerAddr  = "10.77.0.1"
	ServerAddr6 = "fd77::1"
)

// bridge is the switch, in the namespace of Net.Server.
const bridge = "br0"

// New makes a Net without cables.
func New(t *testing.T) *Net {
	t.Helper()
	n := &Net{t: t}
	n.Server = n.newHost("server")
	n.Server.Run("ip link add " + bridge + " type bridge forward_delay 0 mcast_snooping 0")
	n.Server.Run("ip addr add " + ServerAddr + "/24 dev " + bridge)
	n.Server.Run("ip -6 addr add " + ServerAddr6 + "/64 dev " + bridge + " nodad")
	n.Server.Run("ip link set " + bridge + " up")
	return n
}

// A Cable is between a card of the node and the switch.
type Cable struct {
	// MAC is the card's address. Default 52:54:00:77:00:NN, counted from 1.
	MAC string
	// Loose: the other end is not connected, there is no carrier.
	Loose bool
	// Elsewhere: the other end is up, but in no switch of the test.
	Elsewhere bool
}

// Plug gives the node a card of that name.
func (n *Net) Plug(name string, c Cable) {
	n.t.Helper()
	n.cables++
	if c.MAC == "" {
		c.MAC = fmt.Sprintf("52:54:00:77:00:%02x", n.cables)
	}
	// The node's side is made by its own thread: this process.
	run(n.t, fmt.Sprintf("ip link add %s address %s type veth peer name p-%s netns %d", name, c.MAC, name, n.Server.pid))
	if !c.Elsewhere {
		n.Server.Run("ip link set p-" + name + " master " + bridge)
	}
	if !c.Loose {
		n.Server.Run("ip link set p-" + name + " up")
	}
}

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

// Unplugged tells that the last cards were removed by other means: their MAC
// addresses will be those of the next ones.
func (n *Net) Unplugged(cards int) { n.cables -= cards }

// Unplug takes a card of the node away.
func (n *Net) Unplug(name string) {
	n.t.Helper()
	n.cables--
	run(n.t, "ip link del "+name)
}
