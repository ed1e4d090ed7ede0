package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// A packetConn sends and receives on one device below the kernel's own IP: so
// a node can send before it has an address.
type packetConn struct {
	file  *os.File
	proto uint16
	index int
}

// openPacket opens a packet socket (packet(7)) for one protocol. filter is a
// classic BPF program, or empty; what it refuses does not wake this process.
func openPacket(index int, proto uint16, filter []unix.SockFilter) (*packetConn, error) {
	// Protocol 0 receives nothing until the filter is in its place.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("network: packet socket: %w", err)
	}
	if len(filter) > 0 {
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(proto), Ifindex: index})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("network: packet socket: %w", err), unix.Close(fd))
	}
	return &packetConn{file: os.NewFile(uintptr(fd), "packet"), proto: proto, index: index}, nil
}

func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

func (c *packetConn) Close() error { return c.file.Close() }

// broadcastMAC is everybody on the link.
var broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// send sends one packet. It is lost where a queue is full or the link is down, as
// in any network: the caller sends again.
func (c *packetConn) send(to net.HardwareAddr, b []byte) error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	addr := &unix.SockaddrLinklayer{Protocol: networkOrder(c.proto), Ifindex: c.index, Halen: uint8(len(to))}
	copy(addr.Addr[:], to)
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendto(int(fd), b, 0, addr)
		return true
	})
	if errors.Is(sent, unix.ENOBUFS) || errors.Is(sent, unix.ENETDOWN) || errors.Is(sent, unix.EAGAIN) {
		return nil
	}
	return errors.Join(err, sent)
}

// receive waits for a packet until the deadline or the end of ctx; then the
// error is os.ErrDeadlineExceeded or ctx's.
func (c *packetConn) receive(ctx context.Context, b []byte, deadline time.Time) (n int, from net.HardwareAddr, err error) {
	stop := panics.AfterFunc(ctx, func() { _ = c.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := c.file.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	for {
		if err := c.file.SetReadDeadline(deadline); err != nil {
			return 0, nil, err
		}
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		var sender unix.Sockaddr
		var got error
		err = raw.Read(func(fd uintptr) bool {
			n, sender, got = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			return !errors.Is(got, unix.EAGAIN)
		})
		switch {
		case err != nil && ctx.Err() != nil:
			return 0, nil, ctx.Err()
		case err != nil:
			return 0, nil, err
		case errors.Is(got, unix.EINTR), errors.Is(got, unix.ENETDOWN):
			// The link went down, and may come back.
			continue
		case got != nil:
			return 0, nil, got
		}
		if ll, ok := sender.(*unix.SockaddrLinklayer); ok && int(ll.Halen) <= len(ll.Addr) {
			from = append(net.HardwareAddr(nil), ll.Addr[:ll.Halen]...)
		}
		return n, from, nil
	}
}

// Lengths of headers without options (RFC 791, RFC 768).
const (
	ip4Header = 20
	udpHeader = 8
)

const protocolUDP = 17

// wrapUDP puts IPv4 and UDP headers before a payload.
func wrapUDP(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, ip4Header+udpHeader, ip4Header+udpHeader+len(payload))
	b = append(b, payload...)
	ip, udp := b[:ip4Header], b[ip4Header:]
	ip[0] = 4<<4 | ip4Header/4
	binary.BigEndian.PutUint16(ip[2:], uint16(len(b)))
	ip[8] = 64 // Time to live.
	ip[9] = protocolUDP
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))
	binary.BigEndian.PutUint16(udp[0:], from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	// The pseudo header (RFC 768): addresses, protocol, length.
	sum := checksum(protocolUDP+uint32(len(udp)), append(append([]byte{}, ip[12:20]...), udp...))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return b
}

// checksum is that of RFC 1071, begun with sum.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// unwrapUDP returns what an IPv4 packet carries to a UDP port. Checksums are
// not looked at: packets from a virtual NIC have none yet.
func unwrapUDP(b []byte, port uint16) (payload []byte, ok bool) {
	if len(b) < ip4Header || b[0]>>4 != 4 || b[9] != protocolUDP {
		return nil, false
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < ip4Header || total > len(b) || total < header+udpHeader {
		return nil, false
	}
	if fragment := binary.BigEndian.Uint16(b[6:]); fragment&0x3fff != 0 {
		return nil, false // More fragments, or not the first.
	}
	udp := b[header:total]
	size := int(binary.BigEndian.Uint16(udp[4:]))
	if binary.BigEndian.Uint16(udp[2:]) != port || size < udpHeader || size > len(udp) {
		return nil, false
	}
	return udp[udpHeader:size], true
}

// toPort is a filter for IPv4 packets to a UDP port that are no fragments.
func toPort(port uint16) []unix.SockFilter {
	const accept, refuse = 0x40000, 0
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: protocolUDP, Jf: 6},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x1fff, Jt: 4},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(port), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: accept},
		{Code: unix.BPF_RET | unix.BPF_K, K: refuse},
	}
}
