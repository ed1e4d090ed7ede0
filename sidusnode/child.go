package sidusnode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Name is argv[0] of this program.
const Name = "sidusnode"

// lookVerb is the verb of the process that looks.
const lookVerb = "look"

// A finding is what the looks found out.
type finding struct {
	record
	// silent says what had no answer in time; empty where all had one.
	silent string
	// troubles are looks that failed.
	troubles []string
}

// ask does looks in a process of its own, and gives it a time. Nothing can end
// a process that waits for a disk in the kernel: it is killed and left behind.
func ask(box time.Duration, looks ...string) (finding, error) {
	said, err := runChild(box, append([]string{Name, lookVerb}, looks...))
	if err != nil {
		return finding{}, err
	}
	r, err := parseRecord(said)
	if err != nil {
		return finding{}, err
	}
	return found(r), nil
}

// found tells from what a process said how far it came.
func found(r record) finding {
	f := finding{record: r, troubles: r.all(saidTrouble)}
	if len(r.all(saidEnd)) == 0 {
		f.silent = r.get(saidDoing)
		if f.silent == "" {
			f.silent = "the first look"
		}
	}
	return f
}

// runChild runs this program anew and returns what it wrote until its end, or until
// its time was over.
func runChild(box time.Duration, argv []string) (string, error) {
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
	err = r.SetReadDeadline(time.Now().Add(box))
	if err != nil {
		return "", errors.Join(err, p.Kill(), p.Release())
	}
	said, err := io.ReadAll(io.LimitReader(r, maxSaid))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return string(said), errors.Join(p.Kill(), p.Release())
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("read what the looks found: %w", err), p.Kill(), p.Release())
	}
	_, err = p.Wait()
	return string(said), err
}

// maxSaid bounds what is read of a child.
const maxSaid = 1 << 20
