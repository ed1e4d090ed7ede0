// Package socket connects by TCP and UDP to addresses. It is for /init: the sockets
// of package net bring a resolver's, a listener's and multipath TCP's code along,
// and make /init 125 kB larger. What waits here waits in the same poller of Go's
// runtime (os.NewFile), so that deadlines and contexts end it.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// A Dialer has the options of a connection.
type Dialer struct {
	// Device is the network device by which it goes, whatever other ways there are;
	// empty for any.
	Device string
	// Timeout limits the connecting beside the context; 0 does not.
	Timeout time.Duration
}

// Dial connects by "tcp" or "udp". The connection has a method SyscallConn. Where
// there is no answer in time the error is os.ErrDeadlineExceeded.
func (d Dialer) Dial(ctx context.Context, transport string, to netip.AddrPort) (net.Conn, error) {
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	family, kind := unix.AF_INET6, unix.SOCK_STREAM
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	if transport == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = d.connect(fd, kind == unix.SOCK_STREAM, to)
	// Only now: a socket that does not connect yet is ready to the poller.
	c := &conn{File: os.NewFile(uintptr(fd), transport+" "+to.String()), remote: to, stream: kind == unix.SOCK_STREAM}
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EINTR) {
		err = c.await(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connect sets the options of a socket, as package net does, and begins to connect it.
func (d Dialer) connect(fd int, stream bool, to netip.AddrPort) error {
	if d.Device != "" {
		if err := unix.BindToDevice(fd, d.Device); err != nil {
			return fmt.Errorf("bind to %s: %w", d.Device, err)
		}
	}
	if stream {
		for _, option := range [...]struct{ level, name, value int }{
			{unix.SOL_TCP, unix.TCP_NODELAY, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.SOL_TCP, unix.TCP_KEEPIDLE, 15},
			{unix.SOL_TCP, unix.TCP_KEEPINTVL, 15},
			{unix.SOL_TCP, unix.TCP_KEEPCNT, 9},
		} {
			if err := unix.SetsockoptInt(fd, option.level, option.name, option.value); err != nil {
				return os.NewSyscallError("setsockopt", err)
			}
		}
	}
	addr, err := sockaddr(fd, to)
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", unix.Connect(fd, addr))
}

// sockaddr is an address as the kernel takes it. fd is any socket.
func sockaddr(fd int, to netip.AddrPort) (unix.Sockaddr, error) {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, nil
	}
	addr := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		index, err := deviceIndex(fd, zone)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", to, err)
		}
		addr.ZoneId = index
	}
	return addr, nil
}

// deviceIndex is the number of a device, which is given by its name or that number.
func deviceIndex(fd int, name string) (uint32, error) {
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request)
	}
	if err == nil {
		return request.Uint32(), nil
	}
	index, numErr := strconv.ParseUint(name, 10, 32)
	if numErr != nil {
		return 0, os.NewSyscallError("ioctl SIOCGIFINDEX", err)
	}
	return uint32(index), nil
}

// A conn is a connected socket.
type conn struct {
	*os.File
	remote netip.AddrPort
	stream bool
}

// await waits until the socket is connected. What the kernel says is asked before
// each wait: an event that came before it is forgotten by the poller.
func (c *conn) await(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	stop := panics.AfterFunc(ctx, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
	var result error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = os.NewSyscallError("getsockopt", err)
		case code == 0:
			_, err := unix.Getpeername(int(fd))
			return err == nil
		case unix.Errno(code) == unix.EINPROGRESS, unix.Errno(code) == unix.EALREADY, unix.Errno(code) == unix.EINTR:
			return false
		default:
			result = os.NewSyscallError("connect", unix.Errno(code))
		}
		return true
	})
	if !stop() && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return errors.Join(err, result, c.SetWriteDeadline(time.Time{}))
}

// Read reads. A datagram may be empty.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.File.Read(b)
	if err == io.EOF && !c.stream {
		return 0, nil
	}
	return n, err
}

func (c *conn) RemoteAddr() net.Addr { return c.addr(c.remote) }

func (c *conn) LocalAddr() net.Addr {
	var local netip.AddrPort
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			switch a, _ := unix.Getsockname(int(fd)); a := a.(type) {
			case *unix.SockaddrInet4:
				local = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
			case *unix.SockaddrInet6:
				local = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
			}
		})
	}
	return c.addr(local)
}

func (c *conn) addr(a netip.AddrPort) net.Addr {
	if c.stream {
		return net.TCPAddrFromAddrPort(a)
	}
	return net.UDPAddrFromAddrPort(a)
}
