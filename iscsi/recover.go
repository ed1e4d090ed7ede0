package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Recover replaces a broken connection, or a healthy one, by a new login. It
// tries each portal once; the caller calls again, with a pause, until it
// succeeds, the session is ErrGone or ErrTakenOver, or Timeouts.Recovery is
// over: the kernel holds I/O back until then.
func (s *Session) Recover(ctx context.Context) error {
	if _, err := s.State(); err != nil {
		return err
	}
	// Without this the kernel answers ENOTCONN for ever: it waits for its own
	// cleanup to be acknowledged (iscsi_if_stop_conn).
	if err := s.stop(); err != nil {
		return err
	}
	persistent, err := s.target.eachPortal(ctx, func(ctx context.Context, persistent Portal, c net.Conn) (err error) {
		if s.bound() {
			return &KernelError{Op: opBind, Err: ErrTakenOver}
		}
		if c, s.admitSkipped, err = s.target.admit(ctx, c); err != nil {
			return err
		}
		defer c.Close()
		if err := s.establish(ctx, persistent, c); err != nil {
			return errors.Join(err, s.stop())
		}
		return nil
	})
	if err == nil {
		s.remember(persistent)
		s.online()
	}
	return err
}

// online makes disks usable again that the kernel has taken offline, because a
// target that answered did not carry out commands (scsi_eh_offline_sdevs): they stay
// offline when the session is unblocked (scsi_internal_device_unblock_nowait).
// An error of that is no reason to log in once more.
func (s *Session) online() {
	for _, target := range list(filepath.Join(s.sysfs(), "device"), "target") {
		for _, lun := range list(target, "") {
			if read(lun, "state") == "offline" {
				_ = os.WriteFile(filepath.Join(lun, "state"), []byte("running"), 0)
			}
		}
	}
}

// AdmitSkipped says why the last Recover logged in without asking Target.Admit: the
// target refuses a session beside the kernel's. It is nil where Admit was asked.
func (s *Session) AdmitSkipped() error { return s.admitSkipped }

// stop ends the connection, if there is one, and keeps the session.
func (s *Session) stop() error {
	_, err := s.kernel.call("stop the connection", ueventStopConn, stopConn(s.id.Session, 0, stopRecover), nil)
	s.sub.drain()
	return err
}

// bound tells whether another process has given the connection a socket since we stopped
// it. With a second one on top the kernel follows a null pointer when the first
// receives something (iscsi_sw_tcp_data_ready): Linux 6.12 panicked when two
// processes fought for a session. The state is up, down, failed, or unknown
// while bound (show_conn_state).
func (s *Session) bound() bool {
	text, err := os.ReadFile(filepath.Join(s.kernel.root, fmt.Sprintf("sys/class/iscsi_connection/connection%d:0/state", s.id.Session)))
	state := strings.TrimSpace(string(text))
	return err == nil && state != "failed" && state != "down"
}

// remember puts the portal first to which the target has moved permanently.
func (s *Session) remember(persistent Portal) {
	if !slices.Contains(s.target.Portals, persistent) {
		s.target.Portals = append([]Portal{persistent}, s.target.Portals...)
	}
}
