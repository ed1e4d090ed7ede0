package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// An ID names a session in this kernel, across processes.
type ID struct{ Session, Host uint32 }

// A Session is one session of the kernel, with one connection. It is used by
// one goroutine at a time.
type Session struct {
	kernel *Kernel
	target Target
	id     ID
	sub    *subscription
	params Params
	// admitSkipped is for AdmitSkipped.
	admitSkipped error
}

// Commands that the kernel may have open with the target, and with one LUN.
// The first must be a power of two (iscsi_host_alloc).
const (
	commandsMax = 128
	queueDepth  = 32
)

// Connect logs in to the target and starts the session. Errors are
// *LoginError, a PortalsError of them, or *KernelError.
func (k *Kernel) Connect(ctx context.Context, t Target) (*Session, error) {
	t, err := t.complete()
	if err != nil {
		return nil, err
	}
	var s *Session
	persistent, err := t.eachPortal(ctx, func(ctx context.Context, persistent Portal, c net.Conn) error {
		if s, err = k.create(t); err != nil {
			return err
		}
		if err := s.establish(ctx, persistent, c); err != nil {
			return errors.Join(err, s.destroy())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.remember(persistent)
	if err := s.fixRecoveryTimeout(); err != nil {
		return nil, errors.Join(err, s.destroy())
	}
	return s, nil
}

// fixRecoveryTimeout sets the recovery timeout a second time, by sysfs: that is the one that
// the kernel does not let iscsid change (recovery_tmo_sysfs_override in
// drivers/scsi/scsi_transport_iscsi.c). It would set its own, two minutes, when
// it takes the session over, and then writes fail that could have waited.
func (s *Session) fixRecoveryTimeout() error {
	text := seconds(s.target.Timeouts.Recovery)
	if err := os.WriteFile(filepath.Join(s.sysfs(), "recovery_tmo"), []byte(text), 0o644); err != nil {
		return &KernelError{Op: "set the recovery timeout", Err: err}
	}
	return nil
}

// Adopt returns a session that another process has made.
func (k *Kernel) Adopt(t Target, id ID) (*Session, error) {
	t, err := t.complete()
	if err != nil {
		return nil, err
	}
	s := &Session{kernel: k, target: t, id: id, sub: k.events.subscribe(id.Session)}
	if _, err := s.State(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// ID is what Adopt needs.
func (s *Session) ID() ID { return s.id }

// Params are what the last login of this process agreed on.
func (s *Session) Params() Params { return s.params }

// Close stops reading the session's events and leaves the session to the kernel.
func (s *Session) Close() { s.kernel.events.unsubscribe(s.id.Session) }

// create makes a session and its connection in the kernel. It is never bound
// to an endpoint (CREATE_BOUND_SESSION): iscsi_tcp refuses that.
func (k *Kernel) create(t Target) (*Session, error) {
	answer, err := k.call(opCreateSession, ueventCreateSession, createSession(1, commandsMax, queueDepth), nil)
	if err != nil {
		return nil, err
	}
	s := &Session{kernel: k, target: t, id: ID{Session: answer.u32(offR), Host: answer.u32(offR + 4)}}
	s.sub = k.events.subscribe(s.id.Session)
	if _, err := k.call(opCreateConn, ueventCreateConn, plain(s.id.Session, 0), nil); err != nil {
		_, destroyed := k.call("destroy a session", ueventDestroySession, plain(s.id.Session), nil)
		s.Close()
		return nil, errors.Join(err, destroyed)
	}
	return s, nil
}

// Abandon removes the session from the kernel without a logout: all I/O on its disk
// fails at once, also what waits already. It may be called while another goroutine
// uses the session. It waits until the disk is gone, which a program that has it
// open can delay.
func (s *Session) Abandon() error { return s.destroy() }

// destroy removes a session that is not worth a logout, disk and all.
func (s *Session) destroy() error {
	defer s.Close()
	var all []error
	for _, step := range []struct {
		op   string
		kind uint16
		ev   uevent
	}{
		{"stop the connection", ueventStopConn, stopConn(s.id.Session, 0, stopTerm)},
		{"destroy a connection", ueventDestroyConn, plain(s.id.Session, 0)},
		{"destroy a session", ueventDestroySession, plain(s.id.Session)},
	} {
		_, err := s.kernel.call(step.op, step.kind, step.ev, nil)
		all = append(all, err)
	}
	if _, err := s.State(); errors.Is(err, ErrGone) {
		return nil // Whoever did it: iscsid does, when it has seen a logout.
	}
	return errors.Join(all...)
}

// establish takes a session from a TCP connection to full feature phase. The
// kernel keeps its own reference to the socket.
func (s *Session) establish(ctx context.Context, persistent Portal, c net.Conn) error {
	if err := s.bind(c); err != nil {
		return err
	}
	if err := s.set(s.before()); err != nil {
		return err
	}
	params, err := Login(ctx, &kernelConn{s}, s.target)
	if err != nil {
		return err
	}
	if err := s.set(s.after(params, persistent)); err != nil {
		return err
	}
	s.params = params
	_, err = s.kernel.call("start the connection", ueventStartConn, plain(s.id.Session, 0), nil)
	return err
}

func (s *Session) bind(c net.Conn) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("iscsi: %T is not a TCP connection", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var bound error
	err = raw.Control(func(fd uintptr) {
		_, bound = s.kernel.call(opBind, ueventBindConn, bindConn(s.id.Session, 0, fd), nil)
	})
	return errors.Join(err, bound)
}

// LoggedIn is the State in which data moves.
const LoggedIn = "LOGGED_IN"

// State is the kernel's: LoggedIn, FAILED or FREE. For a session that does not exist
// any more the error is ErrGone.
func (s *Session) State() (string, error) {
	text, err := os.ReadFile(filepath.Join(s.sysfs(), "state"))
	if errors.Is(err, os.ErrNotExist) {
		return "", ErrGone
	}
	return strings.TrimSpace(string(text)), err
}

func (s *Session) sysfs() string {
	return filepath.Join(s.kernel.root, "sys/class/iscsi_session/session"+strconv.Itoa(int(s.id.Session)))
}

// Logout ends the session and removes its disk, which must not be in use. It
// always removes the session from the kernel; an error tells that the target
// may not know. With a target that is gone it does not wait.
func (s *Session) Logout(ctx context.Context) error {
	var said error
	switch state, err := s.State(); {
	case err != nil:
		said = err
	case state != LoggedIn:
		said = fmt.Errorf("iscsi: logout from %s: the connection is down (%s)", s.target.Name, state)
	default:
		// Unbinding removes the disk while the target can still be told to
		// write its cache back. A target that does not answer makes it hang,
		// and destroy ends that.
		if said = s.unbind(ctx); said == nil {
			said = s.sendLogout(ctx)
		}
	}
	return errors.Join(said, s.destroy())
}

func (s *Session) unbind(ctx context.Context) error {
	if _, err := s.kernel.call("unbind the session", ueventUnbindSession, plain(s.id.Session), nil); err != nil {
		return err
	}
	return s.await(ctx, "the disk's removal", func(ev event) bool { return ev.kind == keventUnbindSession })
}

// sendLogout sends the Logout PDU (RFC 7143, section 11.14), reason 0: close the
// session. The kernel fills in CmdSN, ExpStatSN and the tag.
func (s *Session) sendLogout(ctx context.Context) error {
	var request PDU
	request.Header[0] = OpLogoutRequest | opImmediate
	request.Header[1] = 0x80
	if err := s.kernel.sendPDU(s.id.Session, &request); err != nil {
		return err
	}
	return s.await(ctx, "the answer to a logout", func(ev event) bool {
		return ev.kind == keventRecvPDU && ev.pdu.Header.Opcode() == OpLogoutResponse
	})
}

func (s *Session) await(ctx context.Context, what string, is func(event) bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.target.Timeouts.Logout)
	defer cancel()
	for {
		ev, err := s.sub.next(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("iscsi: waiting for %s from %s: %w", what, s.target.Name, err)
		case is(ev):
			return nil
		case ev.kind == keventConnError:
			return fmt.Errorf("iscsi: waiting for %s from %s: %w", what, s.target.Name, &ConnError{Code: ev.code})
		}
	}
}

// kernelConn is the Transport over the kernel.
type kernelConn struct{ s *Session }

func (c *kernelConn) Send(_ context.Context, p *PDU) error {
	return c.s.kernel.sendPDU(c.s.id.Session, p)
}

func (c *kernelConn) Receive(ctx context.Context) (PDU, error) {
	for {
		ev, err := c.s.sub.next(ctx)
		if err != nil {
			return PDU{}, err
		}
		switch ev.kind {
		case keventRecvPDU:
			return ev.pdu, nil
		case keventConnError:
			return PDU{}, &ConnError{Code: ev.code}
		case 0:
			return PDU{}, errors.New("iscsi: events of the kernel were lost")
		}
	}
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
