package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sidusboot/sidusboot/socket"
)

// maxRedirects is how many times in a row one portal may redirect the initiator.
const maxRedirects = 4

// A redirect is the target's order to log in elsewhere (RFC 7143, section
// 11.13.5, class 1).
type redirect struct {
	to        Portal
	permanent bool
}

func (r *redirect) Error() string { return "the target redirects to " + r.to.String() }

func (l *login) redirected(p *PDU, detail byte) error {
	pairs, err := ParseText(p.Data)
	if err != nil {
		return l.fail(err)
	}
	address, ok := value(pairs, "TargetAddress")
	if !ok {
		return l.fail(protocolErrorf("a redirect without TargetAddress"))
	}
	portal, err := ParsePortal(address)
	if err != nil {
		return l.fail(protocolErrorf("a redirect to %.80q", address))
	}
	return &redirect{to: portal, permanent: detail == 2}
}

// eachPortal dials the portals in order, follows their redirects, and ends with the
// first connection that try accepts, or with the errors of all of them. A
// KernelError or AdmitError is final: it would be the same everywhere. The result is the
// portal to come back to: a temporary redirect is not remembered.
func (t *Target) eachPortal(ctx context.Context, try func(ctx context.Context, persistent Portal, c net.Conn) error) (Portal, error) {
	if len(t.Portals) == 0 {
		return Portal{}, fmt.Errorf("iscsi: login to %s: %w", t.Name, ErrNoPortal)
	}
	var all PortalsError
	for i, portal := range t.Portals {
		one, cancel := share(ctx, len(t.Portals)-i)
		persistent, err := t.follow(one, portal, try)
		cancel()
		if err == nil {
			return persistent, nil
		}
		var kernel *KernelError
		var admit *AdmitError
		if errors.As(err, &kernel) || errors.As(err, &admit) {
			return Portal{}, err
		}
		all = append(all, err)
		var login *LoginError
		if ctx.Err() != nil || errors.As(err, &login) && login.Final() && !errors.Is(err, ErrNotFound) {
			break
		}
	}
	if len(all) == 1 {
		return Portal{}, all[0]
	}
	return Portal{}, all
}

// share is the part of the time left that one of several gets, so that each has
// its turn: those that are reachable and silent use up what they get.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || n < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// follow logs in at one portal, or where it redirects to.
func (t *Target) follow(ctx context.Context, portal Portal, try func(context.Context, Portal, net.Conn) error) (Portal, error) {
	persistent := portal
	for range maxRedirects + 1 {
		err := t.attempt(ctx, portal, persistent, try)
		var r *redirect
		if !errors.As(err, &r) {
			return persistent, err
		}
		if r.permanent && portal == persistent {
			persistent = r.to
		}
		portal = r.to
	}
	return Portal{}, &LoginError{Portal: portal.String(), Target: t.Name, Err: ErrRedirects}
}

// dial is by address: package net's own look-up of names is larger than all of
// this package, and asks /etc/resolv.conf.
func (t *Target) dial(ctx context.Context, portal Portal) (net.Conn, error) {
	addr, err := netip.ParseAddr(portal.Host)
	if err != nil && t.Resolve == nil {
		return nil, fmt.Errorf("%s is not an address, and Target.Resolve is not set", portal.Host)
	}
	if err != nil {
		if addr, err = t.Resolve(ctx, portal.Host); err != nil {
			return nil, err
		}
	}
	return socket.Dialer{Timeout: t.Timeouts.Dial}.Dial(ctx, "tcp", netip.AddrPortFrom(addr, portal.Port))
}

func (t *Target) attempt(ctx context.Context, portal, persistent Portal, try func(context.Context, Portal, net.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeouts.Dial+t.Timeouts.Login)
	defer cancel()
	c, err := t.dial(ctx, portal)
	if err == nil {
		err = try(ctx, persistent, c)
		c.Close()
	}
	var login *LoginError
	var r *redirect
	var kernel *KernelError
	var admit *AdmitError
	switch {
	case err == nil, errors.As(err, &r), errors.As(err, &kernel), errors.As(err, &admit):
		return err
	case errors.As(err, &login):
		named := *login
		named.Portal = portal.String()
		return &named
	}
	return &LoginError{Portal: portal.String(), Target: t.Name, Err: err}
}
