package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// echo is the address of a server that sends back what it gets.
func echo(t *testing.T, transport, at string) netip.AddrPort {
	t.Helper()
	if transport == "udp" {
		c, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			b := make([]byte, 100)
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(b[:n], from)
			}
		}()
		return c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestDial(t *testing.T) {
	for _, tt := range []struct{ name, transport, at, device, zone string }{
		{name: "tcp", transport: "tcp", at: "127.0.0.1:0"},
		{name: "tcp of IPv6", transport: "tcp", at: "[::1]:0"},
		{name: "tcp by a device", transport: "tcp", at: "127.0.0.1:0", device: "lo"},
		{name: "udp", transport: "udp", at: "127.0.0.1:0"},
		{name: "udp of IPv6", transport: "udp", at: "[::1]:0"},
		{name: "a zone by its name", transport: "udp", at: "[::1]:0", zone: "lo"},
		{name: "a zone by its number", transport: "udp", at: "[::1]:0", zone: "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := echo(t, tt.transport, tt.at)
			c, err := Dialer{Device: tt.device}.Dial(t.Context(), tt.transport, netip.AddrPortFrom(to.Addr().WithZone(tt.zone), to.Port()))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(b); err != nil || string(b[:n]) != "x" {
				t.Errorf("Read = %q, %v", b[:n], err)
			}
			if tt.transport == "udp" {
				if _, err := c.Write(nil); err != nil {
					t.Fatal(err)
				}
			}
			local, err := netip.ParseAddrPort(c.LocalAddr().String())
			if err != nil || local.Addr() != to.Addr() || local.Port() == 0 || c.LocalAddr().Network() != tt.transport {
				t.Errorf("LocalAddr = %v %v", c.LocalAddr().Network(), c.LocalAddr())
			}
			if remote, err := netip.ParseAddrPort(c.RemoteAddr().String()); err != nil || remote.Addr().WithZone("") != to.Addr() || remote.Port() != to.Port() {
				t.Errorf("RemoteAddr = %v", c.RemoteAddr())
			}
			if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read past its deadline: %v", err)
			}
		})
	}
}

// An empty datagram is none that ends the connection.
func TestEmptyDatagram(t *testing.T) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := Dialer{}.Dial(t.Context(), "udp", server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := server.WriteTo(nil, c.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 10)); n != 0 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
}

// The options are those that package net sets.
func TestOptions(t *testing.T) {
	to := echo(t, "tcp", "127.0.0.1:0")
	ours, err := Dialer{}.Dial(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	get := func(c net.Conn, level, name int) (value int) {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
			t.Fatal(err)
		}
		return value
	}
	for name, option := range map[string][2]int{
		"TCP_NODELAY": {unix.SOL_TCP, unix.TCP_NODELAY}, "SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		"TCP_KEEPIDLE": {unix.SOL_TCP, unix.TCP_KEEPIDLE}, "TCP_KEEPINTVL": {unix.SOL_TCP, unix.TCP_KEEPINTVL}, "TCP_KEEPCNT": {unix.SOL_TCP, unix.TCP_KEEPCNT},
	} {
		if got, want := get(ours, option[0], option[1]), get(theirs, option[0], option[1]); got != want {
			t.Errorf("%s is %d, package net's %d", name, got, want)
		}
	}
}

func TestDialRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	c, err := Dialer{}.Dial(t.Context(), "tcp", to)
	if c != nil || !errors.Is(err, unix.ECONNREFUSED) || err.Error() != "connect: connection refused" {
		t.Errorf("Dial = %v, %v", c, err)
	}
	if c, err := (Dialer{Device: "none0"}).Dial(t.Context(), "tcp", to); c != nil || !errors.Is(err, unix.ENODEV) {
		t.Errorf("by a device that is not there: %v, %v", c, err)
	}
	if c, err := (Dialer{}).Dial(t.Context(), "udp", netip.MustParseAddrPort("[fe80::1%none0]:53")); c != nil || !errors.Is(err, unix.ENODEV) {
		t.Errorf("in a zone that is not there: %v, %v", c, err)
	}
}

// silent is the address of a listener whose queue is full: the kernel answers no
// more.
func silent(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(addr.(*unix.SockaddrInet4).Port))
	c, err := Dialer{}.Dial(t.Context(), "tcp", to) // There is place for one.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return to
}

func TestDialUnanswered(t *testing.T) {
	to := silent(t)
	for _, d := range []Dialer{{Timeout: 50 * time.Millisecond}, {}} {
		ctx := t.Context()
		if d.Timeout == 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
		}
		if c, err := d.Dial(ctx, "tcp", to); c != nil || !errors.Is(err, os.ErrDeadlineExceeded) || err.Error() != "i/o timeout" {
			t.Errorf("Dial = %v, %v", c, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if c, err := (Dialer{}).Dial(ctx, "tcp", to); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, %v", c, err)
	}
}
