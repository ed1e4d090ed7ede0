package sidusnode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Name is argv[0] of this program.
const Name = "sidusnode"

// probeVerb is the verb of the process that probes.
const probeVerb = "probe"

// A finding is what the probes found out.
type finding struct {
	record
	// silent says what had no answer in time; empty where all had one.
	silent string
	// failures are the errors of those that failed.
	failures []string
}

// ask runs probes in a process of its own, for as long as limit at most. Nothing
// can end a process that waits for a disk in the kernel: it is killed, and not
// waited for.
func ask(limit time.Duration, probes ...string) (finding, error) {
	said, err := runChild(limit, append([]string{Name, probeVerb}, probes...))
	if err != nil && !errors.Is(err, errSilent) {
		return finding{}, err
	}
	r, err := parseRecord(said)
	if err != nil {
		return finding{}, err
	}
	return found(r), nil
}

// found is what a process wrote, and which probe had no answer.
func found(r record) finding {
	f := finding{record: r, failures: r.all(saidFailure)}
	if len(r.all(saidEnd)) == 0 {
		f.silent = r.get(saidDoing)
		if f.silent == "" {
			f.silent = "the first probe"
		}
	}
	return f
}

// errSilent says that a process did not end in its time.
var errSilent = errors.New("no answer in time")

// runChild runs this program as another process and returns what it wrote until its
// end, or, with errSilent, until its time was over.
func runChild(limit time.Duration, argv []string) (string, error) {
	// The child is to end with this process, that is with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	attr := &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if os.Geteuid() == 0 {
		attr.Unshareflags = unix.CLONE_NEWNS // Its mounts are made private, too.
	}
	p, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{Dir: "/", Env: os.Environ(), Files: []*os.File{nil, w, os.Stderr}, Sys: attr})
	w.Close()
	if err != nil {
		return "", err
	}
	err = r.SetReadDeadline(time.Now().Add(limit))
	if err != nil {
		return "", errors.Join(err, p.Kill(), p.Release())
	}
	said, err := io.ReadAll(io.LimitReader(r, maxSaid))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return string(said), errors.Join(errSilent, p.Kill(), p.Release())
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("read what the probes found: %w", err), p.Kill(), p.Release())
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = errors.New(strings.TrimSpace(state.String() + " " + string(said)))
	}
	return string(said), err
}

// maxSaid bounds what is read of a child.
const maxSaid = 1 << 20
