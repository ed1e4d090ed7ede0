package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// A NoRouterError says that no router advertised itself.
type NoRouterError struct {
	Device string
	Waited time.Duration
}

func (e *NoRouterError) Error() string {
	return fmt.Sprintf("no IPv6 router advertises itself on %s in %v: is radvd, or dnsmasq with --enable-ra, running and in this VLAN?", e.Device, e.Waited.Round(time.Second))
}

// A routerListener receives router advertisements (RFC 4861, section 4.2). The
// kernel acts on them; this is for what the kernel does not tell: whether there
// is DHCPv6, and the name servers.
type routerListener struct {
	file  *os.File
	index int
}

// listenRouter opens a routerListener, and tells the kernel to take an address
// from a router. It must be called before the link is set up.
func listenRouter(link *rtnetlink.Link) (*routerListener, error) {
	name := link.Name
	for _, s := range []struct{ setting, value string }{
		{"disable_ipv6", "0"}, {"autoconf", "1"},
		// 2, as docker and its like make a router of the node: with 1 its own
		// routes would be gone then.
		{"accept_ra", "2"},
		// Spreading the question over a second would only delay this node.
		{"router_solicitation_delay", "0"},
	} {
		if err := setIPv6(name, s.setting, s.value); err != nil {
			return nil, fmt.Errorf("%w: does this kernel have IPv6?", err)
		}
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return nil, fmt.Errorf("network: ICMPv6 socket: %w", err)
	}
	// A set bit keeps a type out (RFC 3542, section 3.2).
	var only unix.ICMPv6Filter
	for i := range only.Data {
		only.Data[i] = ^uint32(0)
	}
	only.Data[typeAdvertisement/32] &^= 1 << (typeAdvertisement % 32)
	err = unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &only)
	if err == nil {
		err = unix.BindToDevice(fd, name)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, neighbourHops)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("network: ICMPv6 socket on %s: %w", name, err), unix.Close(fd))
	}
	return &routerListener{file: os.NewFile(uintptr(fd), "icmp6"), index: link.Index}, nil
}

func (r *routerListener) Close() error { return r.file.Close() }

// solicitGap is the time between two solicitations (RFC 4861, section 10).
const solicitGap = 4 * time.Second

// solicit asks the routers on the link to advertise themselves. The kernel does so
// only when a link comes up, not in a second attempt; without being asked they may
// be silent for half an hour. Nothing can be sent while the link has no address of
// its own, for about a second: the kernel's solicitation suffices then.
func (r *routerListener) solicit(raw syscall.RawConn) error {
	allRouters := &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::2").As16(), ZoneId: uint32(r.index)}
	message := make([]byte, 8) // The kernel adds the checksum.
	message[0] = typeSolicitation
	return raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), message, unix.MSG_DONTWAIT, allRouters) })
}

// receive waits for an advertisement until ctx ends, and asks for one.
func (r *routerListener) receive(ctx context.Context) (advertisement, error) {
	stop := panics.AfterFunc(ctx, func() { _ = r.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := r.file.SyscallConn()
	if err != nil {
		return advertisement{}, err
	}
	for gap := solicitGap / 4; ; gap = solicitGap {
		if err := r.solicit(raw); err != nil {
			return advertisement{}, err
		}
		if err := r.file.SetReadDeadline(time.Now().Add(gap)); err != nil {
			return advertisement{}, err
		}
		if ctx.Err() != nil {
			return advertisement{}, ctx.Err()
		}
		a, err := r.readAdvertisement(ctx, raw)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return a, err
		}
	}
}

// readAdvertisement waits for an advertisement until the deadline.
func (r *routerListener) readAdvertisement(ctx context.Context, raw syscall.RawConn) (advertisement, error) {
	b, control := make([]byte, 2048), make([]byte, 128)
	for {
		var n, size int
		var from unix.Sockaddr
		var got error
		err := raw.Read(func(fd uintptr) bool {
			n, size, _, from, got = unix.Recvmsg(int(fd), b, control, unix.MSG_DONTWAIT)
			return !errors.Is(got, unix.EAGAIN)
		})
		if ctx.Err() != nil {
			return advertisement{}, ctx.Err()
		}
		if err := errors.Join(err, got); err != nil {
			return advertisement{}, err
		}
		sender, ok := isFromNeighbour(from, control[:size])
		if !ok {
			continue
		}
		if a, ok := parseAdvertisement(b[:n]); ok {
			a.router = sender
			return a, nil
		}
	}
}

// neighbourHops is the hop limit of messages from a neighbour: every router on a
// path decrements it.
const neighbourHops = 255

// isFromNeighbour returns the sender of a message, and whether it is a neighbour
// by the rules of RFC 4861, section 6.1.2: a link-local address and the hop limit.
// The kernel has checked the checksum.
func isFromNeighbour(from unix.Sockaddr, control []byte) (sender netip.Addr, ok bool) {
	addr, ok := from.(*unix.SockaddrInet6)
	if !ok {
		return sender, false
	}
	sender = netip.AddrFrom16(addr.Addr)
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return sender, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4 {
			return sender, sender.IsLinkLocalUnicast() && binary.NativeEndian.Uint32(m.Data) == neighbourHops
		}
	}
	return sender, false
}
