package iscsi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What a LoginError can be asked for with errors.Is.
var (
	// ErrAuthentication: a CHAP user or password is wrong.
	ErrAuthentication = errors.New("authentication failed")
	// ErrNotAuthorized: the target does not let this initiator in.
	ErrNotAuthorized = errors.New("not authorised")
	// ErrNotFound: the portal has no such target.
	ErrNotFound = errors.New("no such target")
	// ErrBusy: the target cannot serve now and may be able to later.
	ErrBusy = errors.New("target busy")
	// ErrRedirects: the portals redirect to each other without end.
	ErrRedirects = errors.New("too many redirects")
	// ErrNoCredentials: the target closed the connection to an initiator without
	// credentials. LIO does so when it demands CHAP, and others when they are stopped.
	ErrNoCredentials = errors.New("no credentials were offered")
	// ErrProtocol: the target sent what RFC 7143 does not allow.
	ErrProtocol = errors.New("protocol error")
)

// ErrNoPortal says that Target.Portals is empty.
var ErrNoPortal = errors.New("no portal is given")

// ErrNoLUN says that the target has no such LUN for this initiator.
var ErrNoLUN = errors.New("no such LUN")

// A LoginError says why a login failed, and what to do about it.
type LoginError struct {
	// Class and Detail are the target's status (RFC 7143, section 11.13.5).
	// They are zero where the initiator gave up; Err says why.
	Class, Detail  uint8
	Portal, Target string
	Err            error
}

func (e *LoginError) Error() string {
	text := "iscsi: login to " + e.Target
	if e.Portal != "" {
		text += " at " + e.Portal
	}
	text += ": "
	if e.Class != 0 {
		text += fmt.Sprintf("%s (status %02x%02x)", statusText(e.Class, e.Detail), e.Class, e.Detail)
	}
	if e.Err != nil {
		if e.Class != 0 {
			text += ": "
		}
		text += e.Err.Error()
	}
	if hint := e.hint(); hint != "" {
		text += ": " + hint
	}
	return text
}

func (e *LoginError) Unwrap() error { return e.Err }

// Is makes the status comparable with the errors above.
func (e *LoginError) Is(target error) bool {
	kind := e.kind()
	return kind != nil && target == kind
}

// Final tells whether the same login will fail again until somebody changes
// the configuration of one end.
func (e *LoginError) Final() bool {
	return e.Class == statusInitiator && e.Detail != 0x06 || errors.Is(e.Err, ErrAuthentication)
}

func (e *LoginError) kind() error {
	switch {
	case e.Class == statusInitiator && e.Detail == 0x01:
		return ErrAuthentication
	case e.Class == statusInitiator && e.Detail == 0x02:
		return ErrNotAuthorized
	case e.Class == statusInitiator && (e.Detail == 0x03 || e.Detail == 0x04):
		return ErrNotFound
	case e.Class == statusInitiator && e.Detail == 0x06, e.Class == statusTarget:
		return ErrBusy
	}
	return nil
}

func (e *LoginError) hint() string {
	switch {
	case e.Class == statusTarget && e.Detail == 0x01:
		return "try again later; LIO also answers this if it has no such target: check the target's name"
	case errors.Is(e, ErrAuthentication):
		return "compare CHAP user and password with the target's account"
	case errors.Is(e, ErrNotAuthorized):
		return "add this node's initiator name or its address to the target's access list"
	case errors.Is(e, ErrNotFound):
		return "compare the target's name with the list of targets, and check that this portal serves it"
	case errors.Is(e, ErrBusy):
		return "try again later, or check the target's log and its limit of sessions"
	case errors.Is(e, ErrRedirects):
		return "the target's portals redirect to each other: correct them there, or use the last one"
	}
	switch {
	case errors.Is(e.Err, unix.ECONNREFUSED):
		return "nothing listens there: is the target running?"
	case errors.Is(e.Err, os.ErrDeadlineExceeded), errors.Is(e.Err, context.DeadlineExceeded),
		errors.Is(e.Err, unix.ETIMEDOUT), errors.Is(e.Err, unix.EHOSTUNREACH), errors.Is(e.Err, unix.ENETUNREACH):
		return "no answer: is the server up? Does a firewall or a missing route keep packets from it?"
	case errors.Is(e.Err, ErrNoCredentials):
		return "LIO does this if it requires CHAP: set a user and a password"
	case closed(e.Err):
		return "the target closed the connection: check its log"
	}
	return ""
}

// closed tells whether the other end closed the connection.
func closed(err error) bool {
	var conn *ConnError
	return errors.As(err, &conn) && conn.Code == errConnClosed ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET)
}

// Login status classes.
const (
	statusRedirect  = 1
	statusInitiator = 2
	statusTarget    = 3
)

func statusText(class, detail uint8) string {
	switch uint16(class)<<8 | uint16(detail) {
	case 0x0201:
		return "authentication failed"
	case 0x0202:
		return "this initiator is not authorised"
	case 0x0203:
		return "no such target"
	case 0x0204:
		return "the target was removed permanently"
	case 0x0205:
		return "the target does not support this version of iSCSI"
	case 0x0206:
		return "too many connections"
	case 0x0207:
		return "the target reports a missing parameter"
	case 0x0209:
		return "the target does not support this type of session"
	case 0x020b:
		return "the target reports an invalid request"
	case 0x0300:
		return "the target has a hardware or software error"
	case 0x0301:
		return "the target is not operational"
	case 0x0302:
		return "the target is out of resources"
	}
	switch class {
	case statusInitiator:
		return "the target reports an error of this initiator"
	case statusTarget:
		return "the target reports an error of its own"
	}
	return "the target answers with an unknown status"
}

// A PortalsError holds what each portal had to say, in order.
type PortalsError []error

func (e PortalsError) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets errors.As find the first LoginError.
func (e PortalsError) Unwrap() []error { return e }

func protocolErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrProtocol}, args...)...)
}
