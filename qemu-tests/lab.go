package qemutests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The lab's network, the same in every lab: labs do not see each other.
const (
	// ServerAddr is the address of all servers, on the bridge.
	ServerAddr = "10.77.0.1"
	// ServerAddr6 is another one, in labs with IPv6.
	ServerAddr6 = "fd77::1"
	// bridge joins the servers and the guests.
	bridge = "br0"
	// labDir holds logs, sockets and scratch files inside the lab. It is a
	// tmpfs of the lab's own and vanishes with it.
	labDir = "/run/lab"
)

// LabOptions say how a lab behaves towards the one who opens it.
type LabOptions struct {
	// Logf is called with what the lab starts and stops. Nil: it is not told.
	Logf func(format string, args ...any)
	// IPv6 gives the lab IPv6 beside IPv4.
	IPv6 bool
}

// A Lab is a network with servers and guests on it, in namespaces of its own.
// Its methods may be called from several goroutines.
type Lab struct {
	ns    *namespace
	watch *watch
	logf  func(format string, args ...any)

	mu sync.Mutex
	// reserved are the places of Reserve that no guest has at present.
	reserved []func()
	closed   bool
	// began is when the lab first had a place, waited how long it waited for
	// others since then.
	began   time.Time
	waited  time.Duration
	servers []*Server
	guests  []*Guest
	names   map[string]int
	taps    int
}

// Open makes an empty lab: a bridge with ServerAddr, no servers, no guests.
// Close it. It also disappears when the process ends.
func Open(ctx context.Context, opts LabOptions) (*Lab, error) {
	ns, err := newNamespace(ctx, opts.IPv6)
	if err != nil {
		return nil, err
	}
	l := &Lab{ns: ns, watch: newWatch(), logf: opts.Logf, names: map[string]int{}}
	if l.logf == nil {
		l.logf = func(string, ...any) {}
	}
	l.logf("lab open; look inside: nsenter -t %d -n -m -p", ns.pid)
	return l, nil
}

// Close ends guests and servers and removes every trace of the lab.
func (l *Lab) Close() error {
	l.ns.close()
	l.mu.Lock()
	guests, servers := l.guests, l.servers
	l.mu.Unlock()
	for _, g := range guests {
		<-g.done
	}
	l.mu.Lock()
	l.closed = true
	for _, release := range l.reserved {
		release()
	}
	l.reserved = nil
	l.mu.Unlock()
	for _, s := range servers {
		<-s.done
	}
	return nil
}

// Path is where this process finds a file of the lab's mount namespace: Path
// of "/run/lab/x" is what a server in the lab calls /run/lab/x.
func (l *Lab) Path(name string) string { return l.ns.path(name) }

// Inside calls f on a thread in the lab's network: a socket that f opens itself, not
// a goroutine of it, stays in there.
func (l *Lab) Inside(f func() error) error { return l.ns.inside(f) }

// Output runs a program inside the lab and returns what it printed. Its
// standard error is in the error.
func (l *Lab) Output(ctx context.Context, argv ...string) (string, error) {
	what := strings.Join(argv, " ")
	l.watch.progress("the beginning of " + what)
	defer l.watch.progress("the end of " + what)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := l.ns.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// name makes base unique among the lab's servers and guests: nfs, nfs2, …
func (l *Lab) name(base string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[base]++
	if n := l.names[base]; n > 1 {
		return fmt.Sprintf("%s%d", base, n)
	}
	return base
}

// writeFile puts a file into labDir and returns its path inside the lab.
func (l *Lab) writeFile(name, text string) (string, error) {
	path := filepath.Join(labDir, name)
	if err := os.WriteFile(l.Path(path), []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return path, nil
}

// CopyTree copies a tree into the lab's memory, for tests that change what
// they serve. It returns the path inside the lab.
func (l *Lab) CopyTree(ctx context.Context, tree string) (string, error) {
	dir := filepath.Join("/run", l.name("tree"))
	if err := os.Mkdir(l.Path(dir), 0o755); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	_, err := l.Output(ctx, "sh", "-ec", `mount -t tmpfs -o mode=755,size=2g tree "$2"; cp -a "$1/." "$2"`, "copy", tree, dir)
	if err != nil {
		return "", fmt.Errorf("lab: copy tree: %w", err)
	}
	return dir, nil
}

// SaveLogs copies the logs of servers and guests, and the guests' consoles,
// to dir on the host.
func (l *Lab) SaveLogs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	l.mu.Lock()
	guests, servers := l.guests, l.servers
	l.mu.Unlock()
	var errs []error
	for _, s := range servers {
		errs = append(errs, os.WriteFile(filepath.Join(dir, s.name+".log"), []byte(s.Log()), 0o644))
	}
	for _, g := range guests {
		errs = append(errs, os.WriteFile(filepath.Join(dir, g.name+".console"), []byte(g.Console()), 0o644))
	}
	return errors.Join(errs...)
}
