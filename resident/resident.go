// Package resident is what stays on a node after its boot, in processes of their
// own whose root is a tmpfs: the keeper renews the node's leases and logs in again
// when the connection to the target of its volume is lost, the guard starts the
// keeper again, and the shutdown takes the union apart at the end of the node.
//
// All of them are /init itself, started under other names. Nothing here touches
// /, /ro or /rw, which may be on a server or a disk that is gone.
package resident

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/sidusnode"
)

// What stays in memory after the switch is in this directory: this program, under the
// names by which the keeper and the shutdown are started. It is a tmpfs of its
// own, because systemd's /run may not be run from, and because the root of what
// is resident must be neither /, nor /ro, nor /rw.
const (
	residentDir  = "/run/initramfs"
	residentName = "keeper"
	// Program is this program, where every process of the node finds it.
	Program = residentDir + "/" + residentName
	// ShutdownName is where systemd looks for the shutdown program
	// (systemd-shutdown, INITRD_INTERFACE). It is there only where /rw is a
	// volume: without one systemd does all that there is to do.
	ShutdownName = "shutdown"
	// sessionFile tells the shutdown which session to log out from; no secret
	// is in it.
	sessionFile = "session"
)

// Install lays out the place where the resident processes live. volume says that
// /rw is a volume, systemd that the node runs systemd. session is that of the
// volume, nil where that is no LUN.
func Install(volume, systemd bool, session *Session) error {
	if err := installFiles(volume); err != nil {
		return fmt.Errorf("the resident processes: %w", err)
	}
	if session == nil {
		return nil
	}
	if systemd {
		if err := writeOrderUnits("/"); err != nil {
			return fmt.Errorf("units for the shutdown: %w", err)
		}
	}
	return os.WriteFile(filepath.Join(residentDir, sessionFile), session.encode(false), 0o600)
}

// NewSession describes the session of the volume that is mounted from device.
func NewSession(id iscsi.ID, target iscsi.Target, device string, key rwlayer.Key, names *PortalNames) (*Session, error) {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	stamp, err := readStamp(device)
	if err != nil {
		return nil, err
	}
	return &Session{Target: target, ID: id, Disk: st.Rdev, Key: key, Stamp: stamp, Names: names}, nil
}

// installFiles lays out residentDir. It is root's: what the shutdown and the
// resident processes have there is for root only. proc, sys and dev are
// for systemd, which binds its own there before it runs the shutdown; the
// resident processes mount theirs in a namespace of their own.
func installFiles(volume bool) error {
	if err := os.MkdirAll(residentDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("sidusboot", residentDir, "tmpfs", unix.MS_NOSUID, "mode=0700,size=16m"); err != nil {
		return fmt.Errorf("tmpfs on %s: %w", residentDir, err)
	}
	for _, dir := range []string{"proc", "sys", "dev", "run", "oldroot", "etc", orderDir} {
		if err := os.Mkdir(filepath.Join(residentDir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mkfifo(sidusnode.UpdateFIFO, 0o600); err != nil {
		return err
	}
	program := filepath.Join(residentDir, residentName)
	if err := copyFile("/proc/self/exe", program); err != nil || !volume {
		return err
	}
	return os.Link(program, filepath.Join(residentDir, ShutdownName))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Start starts the guard, which starts the keeper. It gives it the state
// that they need, secrets among it, by a pipe, because arguments and environment
// can be read by others, and waits until they are ready: that has to be so
// before the mounts move from under them.
func Start(s State) error {
	if err := startGuard(s.encode()); err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	return nil
}

func startGuard(state []byte) error {
	in, toGuard, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	fromGuard, out, err := os.Pipe()
	if err != nil {
		return errors.Join(err, toGuard.Close())
	}
	defer fromGuard.Close()
	var p *os.Process
	err = asFlusher(func() (err error) {
		p, err = os.StartProcess(filepath.Join(residentDir, residentName), []string{GuardName, firstGuard}, &os.ProcAttr{
			Dir: residentDir, Env: residentEnv, Files: []*os.File{in, out, out},
			Sys: &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS},
		})
		return err
	})
	out.Close()
	if err != nil {
		return errors.Join(err, toGuard.Close())
	}
	_, err = toGuard.Write(state)
	if err := errors.Join(err, toGuard.Close()); err != nil {
		return fmt.Errorf("pass on the state: %w", err)
	}
	if err := fromGuard.SetReadDeadline(time.Now().Add(2 * readyTime)); err != nil {
		return err
	}
	said, err := bufio.NewReader(fromGuard).ReadString('\n')
	if said != ready {
		return errors.Join(errors.New(strings.TrimSpace(said)), err, p.Kill())
	}
	return p.Release()
}

// firstGuard is the argument of the guard that PID 1 starts.
const firstGuard = "first"
