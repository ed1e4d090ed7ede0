package iscsi

import (
	"context"
	"errors"
	"fmt"
)

// A Transport carries the PDUs of a login over one connection. Both calls end
// with ctx.
type Transport interface {
	Send(ctx context.Context, p *PDU) error
	// Receive returns a PDU whose data has at most 8192 bytes.
	Receive(ctx context.Context) (PDU, error)
}

// Login stages (RFC 7143, section 6.3).
const (
	stageSecurity    = 0
	stageOperational = 1
	stageFull        = 3
)

// Flags in the second byte of login PDUs (RFC 7143, section 11.12).
const (
	flagTransit  = 0x80
	flagContinue = 0x40
)

// maxRounds is how many PDUs a login may take. Honest ones take two to six.
const maxRounds = 64

// Login logs in over a fresh connection, on which the full feature phase
// starts next. An error is a *LoginError without a portal, or the transport's.
func Login(ctx context.Context, tr Transport, t Target) (Params, error) {
	t, err := t.complete()
	if err != nil {
		return Params{}, err
	}
	return (&login{transport: tr, target: &t, negotiation: newNegotiation(&t)}).run(ctx)
}

// A login is the state of one.
type login struct {
	transport   Transport
	target      *Target
	negotiation *negotiation

	stage     byte
	expStatSN uint32
	tsih      uint16
	rounds    int
}

func (l *login) run(ctx context.Context) (Params, error) {
	if err := l.secure(ctx); err != nil {
		return Params{}, err
	}
	l.stage = stageOperational
	pairs := append(l.negotiation.takeReplies(), l.negotiation.offers()...)
	for {
		in, transited, err := l.exchange(ctx, pairs, stageFull)
		if err != nil {
			return Params{}, err
		}
		if err := l.takeAll(in); err != nil {
			return Params{}, err
		}
		if transited {
			break
		}
		pairs = l.negotiation.takeReplies()
	}
	params, err := l.negotiation.finish(l.target)
	if err != nil {
		return Params{}, l.fail(err)
	}
	params.ExpStatSN, params.TSIH = l.expStatSN, l.tsih
	return params, nil
}

// secure is the security stage. It is not left out when there is nothing to
// prove: that is how a target says that it wants a proof.
func (l *login) secure(ctx context.Context) error {
	t := l.target
	methods := "None"
	switch {
	case t.UserIn != "":
		methods = "CHAP"
	case t.User != "":
		methods = "CHAP,None"
	}
	next := byte(stageOperational)
	if t.User != "" {
		next = stageSecurity
	}
	in, transited, err := l.exchange(ctx, []Pair{
		{"InitiatorName", t.Initiator}, {"TargetName", t.Name}, {"SessionType", "Normal"}, {"AuthMethod", methods},
	}, next)
	if closed(err) && t.User == "" {
		return l.fail(fmt.Errorf("%w: %w", err, ErrNoCredentials))
	}
	if err != nil {
		return err
	}
	method, _ := value(in, "AuthMethod")
	if err := l.takeAll(without(in, "AuthMethod")); err != nil {
		return err
	}
	switch {
	case method == "CHAP" && t.User != "" && !transited:
		return l.prove(ctx)
	case method == "Reject" || method == "CHAP" && t.User == "":
		return l.fail(fmt.Errorf("%w: the target does not accept AuthMethod=%s", ErrAuthentication, methods))
	case t.UserIn != "":
		return l.fail(fmt.Errorf("%w: %w", ErrAuthentication, errNoProof))
	case method != "None" && method != "":
		return l.fail(protocolErrorf("AuthMethod=%.40q where %s was offered", method, methods))
	}
	return l.transit(ctx, transited)
}

// prove is CHAP.
func (l *login) prove(ctx context.Context) error {
	c := &chap{target: l.target}
	in, _, err := l.exchange(ctx, c.offer(), stageSecurity)
	if err != nil {
		return err
	}
	answer, err := c.respond(in)
	if err != nil {
		return l.fail(err)
	}
	if err := l.takeAll(withoutCHAP(in)); err != nil {
		return err
	}
	in, transited, err := l.exchange(ctx, answer, stageOperational)
	if err != nil {
		return err
	}
	if err := c.verify(in); err != nil {
		return l.fail(err)
	}
	if err := l.takeAll(withoutCHAP(in)); err != nil {
		return err
	}
	return l.transit(ctx, transited)
}

// transit asks until the target goes on to the operational stage.
func (l *login) transit(ctx context.Context, done bool) error {
	for !done {
		in, transited, err := l.exchange(ctx, l.negotiation.takeReplies(), stageOperational)
		if err != nil {
			return err
		}
		if err := l.takeAll(in); err != nil {
			return err
		}
		done = transited
	}
	return nil
}

func (l *login) takeAll(in []Pair) error {
	for _, p := range in {
		if err := l.negotiation.take(p); err != nil {
			return l.fail(err)
		}
	}
	return nil
}

// exchange sends pairs, in as many PDUs as it takes, and returns the target's
// answer, collected from as many. It asks to go on to the stage next unless
// that is the present one, and tells whether the target agrees.
func (l *login) exchange(ctx context.Context, pairs []Pair, next byte) (in []Pair, transited bool, err error) {
	var text []byte
	segments := split(AppendText(nil, pairs), maxLoginData)
	for i, segment := range segments {
		last := i == len(segments)-1
		flags := byte(flagContinue)
		if last {
			flags = l.transitFlags(next)
		}
		answer, err := l.round(ctx, flags, segment, next)
		if err != nil {
			return nil, false, err
		}
		if !last && len(answer.Data) > 0 {
			return nil, false, l.fail(protocolErrorf("an answer before the request was complete"))
		}
		for text = append(text, answer.Data...); answer.Header[1]&flagContinue != 0; text = append(text, answer.Data...) {
			if len(text) > maxText {
				return nil, false, l.fail(protocolErrorf("more than %d bytes of text in one answer", maxText))
			}
			// The rest is asked for with an empty PDU (RFC 7143, section 7.2).
			if answer, err = l.round(ctx, 0, nil, next); err != nil {
				return nil, false, err
			}
		}
		transited = answer.Header[1]&flagTransit != 0
	}
	if in, err = ParseText(text); err != nil {
		return nil, false, l.fail(err)
	}
	return in, transited, nil
}

func (l *login) transitFlags(next byte) byte {
	if next == l.stage {
		return 0
	}
	return flagTransit | next
}

// round sends one PDU and reads the answer.
func (l *login) round(ctx context.Context, flags byte, data []byte, next byte) (PDU, error) {
	if l.rounds++; l.rounds > maxRounds {
		return PDU{}, l.fail(protocolErrorf("not finished after %d PDUs", maxRounds))
	}
	request := PDU{Data: data}
	h := &request.Header
	h[0] = OpLoginRequest | opImmediate
	h[1] = flags | l.stage<<2
	copy(h[8:14], l.target.ISID[:])
	h.SetUint16(14, 0) // TSIH: a new session, always
	h.SetUint32(16, 1) // initiator task tag; the kernel puts its own
	h.SetUint32(24, 1) // CmdSN, likewise
	h.SetUint32(28, l.expStatSN)
	if err := l.transport.Send(ctx, &request); err != nil {
		return PDU{}, err
	}
	answer, err := l.transport.Receive(ctx)
	if err != nil {
		return PDU{}, err
	}
	return answer, l.check(&answer, next)
}

// check judges the header of an answer.
func (l *login) check(p *PDU, next byte) error {
	h := &p.Header
	switch h.Opcode() {
	case OpLoginResponse:
	case OpReject:
		return l.fail(protocolErrorf("the target rejects the login PDU for reason %#02x", h[2]))
	default:
		return l.fail(protocolErrorf("opcode %#02x instead of the answer to a login", h.Opcode()))
	}
	l.expStatSN = h.Uint32(24) + 1
	l.tsih = h.Uint16(14)
	if class, detail := h[36], h[37]; class != 0 {
		if class == statusRedirect {
			return l.redirected(p, detail)
		}
		return &LoginError{Class: class, Detail: detail, Target: l.target.Name}
	}
	if h[3] != 0 {
		return l.fail(protocolErrorf("the target uses version %d of iSCSI and this node 0", h[3]))
	}
	if stage := h[1] >> 2 & 3; stage != l.stage {
		return l.fail(protocolErrorf("an answer in stage %d to a request in stage %d", stage, l.stage))
	}
	if h[1]&flagTransit != 0 && (h[1]&3 != next || next == l.stage || h[1]&flagContinue != 0) {
		return l.fail(protocolErrorf("the target changes to stage %d without a request", h[1]&3))
	}
	return nil
}

// fail makes a LoginError of what went wrong on this side.
func (l *login) fail(err error) error {
	var known *LoginError
	if errors.As(err, &known) {
		return err
	}
	return &LoginError{Target: l.target.Name, Err: err}
}
