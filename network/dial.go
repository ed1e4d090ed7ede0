package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dial connects by tcp or udp by way of one device, whatever other ways there are;
// an empty device is any.
func Dial(ctx context.Context, device, transport string, address netip.AddrPort) (net.Conn, error) {
	// Not DialContext, because that brings package net's resolver along.
	var d net.Dialer
	if device != "" {
		d.Control = func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) }), err)
		}
	}
	if transport == "udp" {
		return d.DialUDP(ctx, transport, netip.AddrPort{}, address)
	}
	return d.DialTCP(ctx, transport, netip.AddrPort{}, address)
}
