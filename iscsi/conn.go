package iscsi

import (
	"context"
	"net"
	"time"

	"github.com/sidusboot/sidusboot/panics"
)

// NewConn makes a Transport of a plain connection, for a login without the
// kernel.
func NewConn(c net.Conn) Transport { return &conn{c: c} }

type conn struct {
	c   net.Conn
	itt uint32 // of the last request
}

func (c *conn) Send(ctx context.Context, p *PDU) error {
	defer c.bound(ctx)()
	c.itt = p.Header.Uint32(16)
	_, err := c.c.Write(p.Append(nil))
	return c.why(ctx, err)
}

func (c *conn) Receive(ctx context.Context) (PDU, error) {
	defer c.bound(ctx)()
	p, err := ReadPDU(c.c, maxLoginData)
	if err != nil {
		return PDU{}, c.why(ctx, err)
	}
	if itt := p.Header.Uint32(16); p.Header.Opcode() == OpLoginResponse && itt != c.itt {
		return PDU{}, protocolErrorf("an answer to task %#x where %#x is open", itt, c.itt)
	}
	return p, nil
}

// bound ends what the connection does when ctx ends.
func (c *conn) bound(ctx context.Context) (done func()) {
	stop := panics.AfterFunc(ctx, func() { c.c.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

func (c *conn) why(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
