package main

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

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/tree"
)

// What stays in memory after the switch lives here: this program, under the
// names by which the keeper and the shutdown are started. It is a tmpfs of its
// own, because systemd's /run may not be run from, and because the root of what
// is resident must be neither /, nor /ro, nor /rw.
const (
	residentDir  = "/run/initramfs"
	residentName = "keeper"
	// shutdownName is where systemd looks for the shutdown program
	// (systemd-shutdown, INITRD_INTERFACE). It is there only where /rw is a
	// volume: without one systemd does all that there is to do.
	shutdownName = "shutdown"
	// sessionFile tells the shutdown which session to log out from; no secret
	// is in it.
	sessionFile = "session"
)

// leaveResident is stay, once all modules are in: none can be loaded after the
// switch.
func (n *node) leaveResident() error {
	defer n.watchOver("resident")()
	n.waitFor("the modules that load in the background")
	<-n.loaded
	n.waitFor("the resident process")
	return n.stay()
}

// stay leaves behind what the node needs after the switch: the shutdown, where
// /rw is a volume, and the keeper, where that is a LUN or a lease will end.
func (n *node) stay() error {
	volume := n.report.RW.Kind != "tmpfs"
	state := residentState{leases: n.tenancies()}
	if !volume && len(state.leases) == 0 {
		return nil
	}
	if err := installResident(volume); err != nil {
		return fmt.Errorf("what stays resident: %w", err)
	}
	if n.lun != nil {
		session, err := n.leaveSession()
		if err != nil {
			return err
		}
		state.session = session
	}
	if state.session == nil && len(state.leases) == 0 {
		return nil
	}
	if err := startKeeper(state.encode()); err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	if n.lun == nil {
		return nil
	}
	// The keeper listens from here on; two listeners would both answer.
	n.lun.session.Close()
	return n.lun.kernel.Close()
}

// tenancies are the leases that end unless somebody renews them, and that no
// manager of the tree is to have.
func (n *node) tenancies() (all []*network.Tenancy) {
	if n.cfg.LeaseOwner == config.OwnerTree {
		return nil
	}
	for _, l := range n.leases() {
		link, err := rtnetlink.ByName(l.Device)
		if err != nil {
			n.log.Errorf("the lease on %s will not be renewed: %v", l.Device, err)
			continue
		}
		if t := l.Tenancy(link.Index, l.Hostname); t != nil {
			all = append(all, t)
		}
	}
	return all
}

// leaveSession prepares the end of the node's session, and says what its keeper
// has to know.
func (n *node) leaveSession() (*sessionState, error) {
	l := n.lun
	program, err := tree.At(unionDir).FindInit(n.cfg.Init)
	if err != nil {
		return nil, err
	}
	if isSystemd(unionDir, program) {
		if err := adviseSystemd("/"); err != nil {
			return nil, fmt.Errorf("units for the shutdown: %w", err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(n.report.RW.Device, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", n.report.RW.Device, err)
	}
	state := &sessionState{target: l.target, id: l.session.ID(), disk: st.Rdev, key: n.reservationKey(), names: l.names}
	if state.stamp, err = readStamp(n.report.RW.Device); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(residentDir, sessionFile), state.encode(false), 0o600); err != nil {
		return nil, err
	}
	l.untend()
	return state, nil
}

// installResident lays out residentDir. It is root's: what the shutdown and the
// resident processes have there is for root only. proc, sys and dev are
// for systemd, which binds its own there before it runs the shutdown; the
// resident processes mount theirs in a namespace of their own.
func installResident(volume bool) error {
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
	program := filepath.Join(residentDir, residentName)
	if err := copyFile("/proc/self/exe", program); err != nil || !volume {
		return err
	}
	return os.Link(program, filepath.Join(residentDir, shutdownName))
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

// startKeeper starts the guard, which starts the keeper. It gives it the state
// that they need, secrets among it, by a pipe, because arguments and environment
// can be read by others, and waits until they are ready: that has to be so
// before the mounts move from under them.
func startKeeper(state []byte) error {
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
		p, err = os.StartProcess(filepath.Join(residentDir, residentName), []string{guardName, firstGuard}, &os.ProcAttr{
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
		return fmt.Errorf("hand over what is to be kept: %w", err)
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
