package iscsi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/sidusboot/sidusboot/socket"
)

// A LogicalUnit is the LUN over a session of this process alone, beside the
// kernel's: for a few commands at a moment when the kernel must not send any. It
// carries out one command at a time, and ends with its context.
type LogicalUnit struct {
	ctx       context.Context
	conn      *conn
	target    *Target
	params    Params
	cmdSN     uint32
	expStatSN uint32
	itt       uint32
}

// maxUnitData is the most data that one command may move.
const maxUnitData = 1 << 16

// Opcodes and flags of the full feature phase (RFC 7143, sections 11.3 to 11.8).
const (
	opCommand  = 0x01
	opDataOut  = 0x05
	opNopOut   = 0x00
	opResponse = 0x21
	opDataIn   = 0x25
	opR2T      = 0x31

	flagFinal  = 0x80
	flagRead   = 0x40
	flagWrite  = 0x20
	flagStatus = 0x01 // in Data-In

	noTag = 0xffffffff
)

// Ask logs in beside the kernel's session, to the first portal that lets it in,
// and carries f out.
func (s *Session) Ask(ctx context.Context, f func(*LogicalUnit) error) error {
	return s.target.Ask(ctx, f)
}

// Ask is Session.Ask where the kernel has no session.
func (t Target) Ask(ctx context.Context, f func(*LogicalUnit) error) error {
	t, err := t.complete()
	if err != nil {
		return err
	}
	var said error
	_, err = t.eachPortal(ctx, func(ctx context.Context, _ Portal, c net.Conn) error {
		return t.ask(ctx, c, func(u *LogicalUnit) error {
			said = f(u)
			return nil
		})
	})
	return errors.Join(err, said)
}

// admit asks Target.Admit over c, and returns the connection for the kernel's
// login: a new one. The two are not open at once: LIO reads one login after the
// other, and would wait for that of the idle one. skipped says that the target
// allows no second session: it may allow only one, or insist on digests, and to
// look at the volume first is not worth the volume.
func (t *Target) admit(ctx context.Context, c net.Conn) (next net.Conn, skipped, err error) {
	if t.Admit == nil {
		return c, nil, nil
	}
	remote, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return nil, nil, fmt.Errorf("iscsi: %T is not a TCP connection", c)
	}
	var refused error
	err = t.ask(ctx, c, func(u *LogicalUnit) error {
		refused = t.Admit(u)
		return nil
	})
	c.Close()
	if refused != nil {
		return nil, nil, &AdmitError{refused}
	}
	var login *LoginError
	if errors.As(err, &login) && (login.Class != 0 || errors.Is(err, ErrProtocol)) {
		skipped, err = err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	next, err = socket.Dialer{Timeout: t.Timeouts.Dial}.Dial(ctx, "tcp", remote.AddrPort())
	return next, skipped, err
}

// An AdmitError is an error of Target.Admit: the new login was not made.
type AdmitError struct{ Err error }

func (e *AdmitError) Error() string { return e.Err.Error() }
func (e *AdmitError) Unwrap() error { return e.Err }

// ask logs in over c, carries f out and logs out.
func (t *Target) ask(ctx context.Context, c net.Conn, f func(*LogicalUnit) error) error {
	second := *t
	// Another session of the same node, or the target would end the first.
	second.ISID[5] ^= 0x80
	second.HeaderDigest, second.DataDigest = DigestOff, DigestOff
	tr := &conn{c: c}
	params, err := Login(ctx, tr, second)
	if err != nil {
		return err
	}
	u := &LogicalUnit{ctx: ctx, conn: tr, target: &second, params: params, cmdSN: 1, expStatSN: params.ExpStatSN}
	defer u.logout()
	return f(u)
}

// Execute carries out one SCSI command. Data goes to the target with write, and
// is filled by it otherwise. It returns the status and the sense data.
func (u *LogicalUnit) Execute(cdb, data []byte, write bool) (status byte, sense []byte, err error) {
	if len(cdb) > 16 || len(data) > maxUnitData {
		return 0, nil, fmt.Errorf("iscsi: a command of %d bytes with %d bytes of data", len(cdb), len(data))
	}
	ctx, cancel := context.WithTimeout(u.ctx, u.target.Timeouts.Login)
	defer cancel()
	status, sense, err = u.execute(ctx, cdb, data, write)
	if err != nil {
		err = fmt.Errorf("iscsi: LUN %d of %s: %w", u.target.LUN, u.target.Name, err)
	}
	return status, sense, err
}

func (u *LogicalUnit) execute(ctx context.Context, cdb, data []byte, write bool) (byte, []byte, error) {
	u.itt++
	var request PDU
	h := &request.Header
	h[0], h[1] = opCommand, flagFinal|1 // a simple task
	copy(h[32:48], cdb)
	switch {
	case write && len(data) > 0:
		h[1] |= flagWrite
		// What does not go with the command the target asks for.
		if u.params.ImmediateData {
			request.Data = data[:min(len(data), int(min(u.params.MaxXmit, u.params.FirstBurst)))]
		}
	case len(data) > 0:
		h[1] |= flagRead
	}
	h.SetUint32(20, uint32(len(data)))
	h.SetUint32(24, u.cmdSN)
	u.cmdSN++
	if err := u.send(ctx, &request, noTag); err != nil {
		return 0, nil, err
	}
	for range maxAnswers {
		p, err := u.receive(ctx)
		if err != nil {
			return 0, nil, err
		}
		h := &p.Header
		if op := h.Opcode(); op != OpNopIn && op != OpAsync && h.Uint32(16) != u.itt {
			return 0, nil, protocolErrorf("opcode %#02x for task %#x where %#x is open", op, h.Uint32(16), u.itt)
		}
		switch h.Opcode() {
		case opDataIn:
			at := uint64(h.Uint32(40))
			if write || at+uint64(len(p.Data)) > uint64(len(data)) {
				return 0, nil, protocolErrorf("%d bytes at %d of an answer of %d", len(p.Data), at, len(data))
			}
			copy(data[at:], p.Data)
			if h[1]&flagStatus != 0 {
				return h[3], nil, nil
			}
		case opR2T:
			at, n := uint64(h.Uint32(40)), uint64(h.Uint32(44))
			if !write || at+n > uint64(len(data)) {
				return 0, nil, protocolErrorf("the target asks for %d bytes at %d of %d", n, at, len(data))
			}
			if err := u.sendData(ctx, data[:at+n], uint32(at), h.Uint32(20)); err != nil {
				return 0, nil, err
			}
		case opResponse:
			if h[2] != 0 {
				return 0, nil, fmt.Errorf("the target could not carry out a command: response %#02x", h[2])
			}
			return h[3], senseOf(p.Data), nil
		case OpNopIn:
			if err := u.pong(ctx, &p); err != nil {
				return 0, nil, err
			}
		case OpAsync:
			if event := h[36]; event != 0 {
				return 0, nil, &AsyncError{Event: event}
			}
		default:
			return 0, nil, protocolErrorf("opcode %#02x instead of the answer to a command", h.Opcode())
		}
	}
	return 0, nil, protocolErrorf("not finished after %d PDUs", maxAnswers)
}

// maxAnswers is how many PDUs a target may answer one command with.
const maxAnswers = 1024

// sendData sends what the target has asked for, from at on.
func (u *LogicalUnit) sendData(ctx context.Context, data []byte, at, tag uint32) error {
	for sn := uint32(0); ; sn++ {
		end := min(uint64(len(data)), uint64(at)+uint64(u.params.MaxXmit))
		out := PDU{Data: data[at:end]}
		h := &out.Header
		h[0] = opDataOut
		if end == uint64(len(data)) {
			h[1] = flagFinal
		}
		h.SetUint32(36, sn)
		h.SetUint32(40, at)
		if err := u.send(ctx, &out, tag); err != nil || end == uint64(len(data)) {
			return err
		}
		at = uint32(end)
	}
}

// pong answers a ping that wants an answer.
func (u *LogicalUnit) pong(ctx context.Context, ping *PDU) error {
	tag := ping.Header.Uint32(20)
	if tag == noTag {
		return nil
	}
	var out PDU
	h := &out.Header
	h[0], h[1] = opNopOut|opImmediate, flagFinal
	copy(h[8:16], ping.Header[8:16])
	h.SetUint32(16, noTag)
	h.SetUint32(20, tag)
	h.SetUint32(24, u.cmdSN)
	h.SetUint32(28, u.expStatSN)
	return u.conn.Send(ctx, &out)
}

// send fills in what commands and data have in common.
func (u *LogicalUnit) send(ctx context.Context, p *PDU, tag uint32) error {
	h := &p.Header
	// As the kernel counts LUNs (int_to_scsilun).
	for i, lun := 8, u.target.LUN; i < 16; i, lun = i+2, lun>>16 {
		h.SetUint16(i, uint16(lun))
	}
	h.SetUint32(16, u.itt)
	if h.Opcode() == opDataOut {
		h.SetUint32(20, tag)
	}
	h.SetUint32(28, u.expStatSN)
	return u.conn.Send(ctx, p)
}

func (u *LogicalUnit) receive(ctx context.Context) (PDU, error) {
	defer u.conn.bound(ctx)()
	p, err := ReadPDU(u.conn.c, int(u.params.MaxRecv))
	if err != nil {
		return PDU{}, u.conn.why(ctx, err)
	}
	h := &p.Header
	counts := h.Opcode() != opDataIn && h.Opcode() != opR2T || h.Opcode() == opDataIn && h[1]&flagStatus != 0
	if counts && !(h.Opcode() == OpNopIn && h.Uint32(16) == noTag) {
		u.expStatSN = h.Uint32(24) + 1
	}
	return p, nil
}

// senseOf is the sense data in the answer to a command (RFC 7143, section 11.4.7).
func senseOf(b []byte) []byte {
	if len(b) < 2 {
		return nil
	}
	n := int(b[0])<<8 | int(b[1])
	return b[2 : 2+min(n, len(b)-2)]
}

// goodbye is how long the answer to a logout is waited for.
const goodbye = time.Second

// logout is a courtesy: the session ends with its connection.
func (u *LogicalUnit) logout() {
	ctx, cancel := context.WithTimeout(u.ctx, goodbye)
	defer cancel()
	var out PDU
	h := &out.Header
	h[0], h[1] = OpLogoutRequest|opImmediate, flagFinal
	u.itt++
	h.SetUint32(16, u.itt)
	h.SetUint32(24, u.cmdSN)
	h.SetUint32(28, u.expStatSN)
	if u.conn.Send(ctx, &out) != nil {
		return
	}
	for {
		if p, err := u.receive(ctx); err != nil || p.Header.Opcode() == OpLogoutResponse {
			break
		}
	}
	// The target closes.
	defer u.conn.bound(ctx)()
	_, _ = io.Copy(io.Discard, u.conn.c)
}
