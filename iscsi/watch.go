package iscsi

import (
	"context"
	"errors"
	"fmt"
)

// ErrGone says that the session does not exist any more.
var ErrGone = errors.New("iscsi: the session no longer exists")

// ErrTakenOver says that another process, such as iscsid, logs in on this
// session. It owns the session from now on.
var ErrTakenOver = errors.New("iscsi: another process logs in on this session")

// A ConnError says why a connection ended (enum iscsi_err in
// include/scsi/iscsi_if.h). Session.Recover makes a new one.
type ConnError struct{ Code uint32 }

const errConnClosed = 1020 // ISCSI_ERR_TCP_CONN_CLOSE

func (e *ConnError) Error() string {
	text := map[uint32]string{
		1005: "the target sent an unknown PDU", 1006: "the target sent too much data", 1008: "the target broke the protocol",
		1011: "the connection failed", 1013: "the session failed", 1014: "a header digest is wrong", 1015: "a data digest is wrong",
		1019: "sending failed", errConnClosed: "the target closed the connection", 1021: "a session reset by the SCSI error handler",
		1022: "no answer to a ping",
	}[e.Code]
	if text == "" {
		text = "the connection is down"
	}
	return fmt.Sprintf("%s (%d)", text, e.Code)
}

// An AsyncError is the target's request to end the connection or the session
// (RFC 7143, section 11.9.1). Session.Recover carries it out.
type AsyncError struct{ Event uint8 }

func (e *AsyncError) Error() string {
	return fmt.Sprintf("the target asks for a new login (asynchronous event %d)", e.Event)
}

// Watch waits until the session needs its owner, and says why: a *ConnError or
// *AsyncError calls for Recover, ErrTakenOver and ErrGone for nothing more. It
// has to run all the time, in some process: without a listener the kernel makes
// connection errors of harmless PDUs.
func (s *Session) Watch(ctx context.Context) error {
	err := s.watch(ctx)
	var conn *ConnError
	var async *AsyncError
	if errors.As(err, &conn) || errors.As(err, &async) {
		return fmt.Errorf("iscsi: %s: %w", s.target.Name, err)
	}
	return err
}

func (s *Session) watch(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	for {
		ev, err := s.sub.next(ctx)
		if err != nil {
			return err
		}
		switch ev.kind {
		case keventConnError:
			return &ConnError{Code: ev.code}
		case keventDestroySession:
			return ErrGone
		case keventRecvPDU:
			if err := checkPDU(&ev.pdu); err != nil {
				return err
			}
		case 0:
			if err := s.check(); err != nil {
				return err
			}
		}
	}
}

// check asks the kernel instead of waiting for what may have been missed.
func (s *Session) check() error {
	state, err := s.State()
	if err == nil && state != LoggedIn {
		return &ConnError{}
	}
	return err
}

// checkPDU returns the error that a PDU stands for, of those that the kernel leaves to
// user space. The kernel answers pings itself; a SCSI sense in an asynchronous
// message needs no action.
func checkPDU(p *PDU) error {
	switch p.Header.Opcode() {
	case OpAsync:
		if event := p.Header[36]; event >= 1 && event <= 4 {
			return &AsyncError{Event: event}
		}
	case OpLoginResponse:
		return ErrTakenOver
	}
	return nil
}
