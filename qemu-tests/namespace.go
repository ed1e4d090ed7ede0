package qemutests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// holderScript is PID 1 of a lab. It says "ready" when the namespaces are
// set up, then lives for as long as its standard input is open.
//
// /run and /var/lib/nfs are private because rpcbind, ganesha and tgtd of two
// labs would meet there. Fresh /proc and /sys show this lab's processes and
// network devices.
const holderScript = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 lab /run
mount -t tmpfs -o mode=755 lab /var/lib/nfs
mkdir -p /run/lab /run/rpcbind /run/lock /var/lib/nfs/ganesha /var/lib/nfs/sm
chmod 1777 /run/lock
[ "$1" = ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
ip link set lo up
ip link add br0 type bridge forward_delay 0 mcast_snooping 0
ip addr add ` + ServerAddr + `/24 dev br0
[ "$1" != ipv6 ] || ip addr add ` + ServerAddr6 + `/64 dev br0 nodad
ip link set br0 up
echo ready
cat > /dev/null
`

// A namespace is a set of net, mount and pid namespaces with no name, kept by
// one holder process. The holder ends when this process closes its end of a
// pipe or dies, however it dies; being PID 1 in there, it takes every process,
// device and mount of the lab with it.
type namespace struct {
	pid   int
	pidfd int
	pipe  io.Closer
	done  chan struct{}
}

// newNamespace makes the namespaces and waits until they are set up.
func newNamespace(ctx context.Context, ipv6 bool) (*namespace, error) {
	family := "ipv4"
	if ipv6 {
		family = "ipv6"
	}
	cmd := exec.Command("sh", "-c", holderScript, "holder", family)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Setpgid:    true, // a Ctrl-C is for us alone
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	// A pipe of our own: Wait must not wait for whoever inherited the output.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("lab: start namespaces (root is needed): %w", err)
	}
	ns := &namespace{pid: cmd.Process.Pid, pidfd: -1, pipe: stdin, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(ns.done)
	}()

	if err := waitReady(ctx, r); err != nil {
		ns.close()
		return nil, fmt.Errorf("lab: set up namespaces: %w", err)
	}
	ns.pidfd, err = unix.PidfdOpen(ns.pid, 0)
	if err != nil {
		ns.close()
		return nil, fmt.Errorf("lab: pidfd of holder %d: %w", ns.pid, err)
	}
	return ns, nil
}

// waitReady reads the holder's output until it says that it is ready.
func waitReady(ctx context.Context, r *os.File) error {
	deadline, ok := ctx.Deadline()
	if latest := time.Now().Add(defaultPatience); !ok || deadline.After(latest) {
		deadline = latest
	}
	if err := r.SetReadDeadline(deadline); err != nil {
		return err
	}
	var out bytes.Buffer
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		out.Write(buf[:n])
		if strings.HasSuffix(out.String(), "ready\n") {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return errors.New(strings.TrimSpace(out.String()))
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
		}
	}
}

// close ends everything in the namespaces and waits for it.
func (ns *namespace) close() {
	ns.pipe.Close()
	<-ns.done
	if ns.pidfd >= 0 {
		unix.Close(ns.pidfd)
		ns.pidfd = -1
	}
}

// path is where this process sees a file of the lab's mount namespace.
func (ns *namespace) path(elem ...string) string {
	return filepath.Join(append([]string{"/proc", fmt.Sprint(ns.pid), "root"}, elem...)...)
}

// inside calls f on a thread in the network namespace: a socket that f opens
// stays in there.
func (ns *namespace) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // For good, as in start.
		if err := unix.Setns(ns.pidfd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("lab: enter the network of %d: %w", ns.pid, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// start starts cmd inside the namespaces, as a child of this process and in a
// session of its own.
//
// A thread that entered other namespaces is of no use to the rest of the
// program: the goroutine stays locked to it, so that the thread ends with it.
func (ns *namespace) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		// setns refuses a mount namespace to a thread that shares its
		// working directory with others (kernel: fs/namespace.c mntns_install).
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			started <- fmt.Errorf("lab: unshare: %w", err)
			return
		}
		if err := unix.Setns(ns.pidfd, unix.CLONE_NEWNET|unix.CLONE_NEWNS|unix.CLONE_NEWPID); err != nil {
			started <- fmt.Errorf("lab: enter namespaces of %d: %w", ns.pid, err)
			return
		}
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, programNice)
		started <- cmd.Start()
	}()
	err := <-started
	if err == nil {
		// The kernel shares processors among sessions first (sched(7), autogroup).
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", cmd.Process.Pid), []byte(strconv.Itoa(programNice)), 0)
	}
	return err
}

// programNice lets guests and their servers go before compilers and whatever else
// the machine does, as a user waits for them. Where it is refused, the tests go on.
const programNice = -5
