package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

const (
	serverPort6 = 547
	clientPort6 = 546
)

// servers6 are all DHCPv6 servers and relays on the link.
var servers6 = netip.MustParseAddr("ff02::1:2")

// statusOK is success (RFC 8415, section 21.13); statusNoBinding is what a
// server says to the renewal of what it does not know.
const (
	statusOK        = 0
	statusNoBinding = 3
)

// A client6 speaks DHCPv6 on one link.
type client6 struct {
	conn   net.PacketConn
	device string
	index  int
	duid   []byte
	iaid   uint32
	start  time.Time
}

// newClient6 opens the client's port on one device. It wants the link's own
// address to be there.
func newClient6(device string, index int, mac net.HardwareAddr) (*client6, error) {
	conn, err := listenUDP(unix.AF_INET6, device, clientPort6)
	if err != nil {
		return nil, err
	}
	c := &client6{conn: conn, device: device, index: index, start: time.Now()}
	// DUID-LL (RFC 8415, section 11.4) of Ethernet: the same at every boot, and
	// a server can find a reservation by the MAC in it.
	c.duid = append([]byte{0, 3, 0, 1}, mac...)
	if n := len(mac); n >= 4 {
		c.iaid = binary.BigEndian.Uint32(mac[n-4:])
	}
	return c, nil
}

// listenUDP opens a port on one device only, beside whoever has it on others.
func listenUDP(family int, device string, port int) (net.PacketConn, error) {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("network: UDP socket: %w", err)
	}
	var any unix.Sockaddr = &unix.SockaddrInet4{Port: port}
	if family == unix.AF_INET6 {
		any = &unix.SockaddrInet6{Port: port}
	}
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_BROADCAST} {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1))
	}
	err = errors.Join(err, unix.BindToDevice(fd, device), unix.Bind(fd, any))
	f := os.NewFile(uintptr(fd), "udp")
	defer f.Close()
	if err != nil {
		return nil, fmt.Errorf("network: UDP port %d on %s: %w", port, device, err)
	}
	// It has a copy of the socket from here on.
	return net.FilePacketConn(f)
}

func (c *client6) message(kind byte) *message6 {
	n := rand.Uint32()
	m := &message6{kind: kind, xid: [3]byte{byte(n), byte(n >> 8), byte(n >> 16)}}
	m.add(optClientID6, c.duid)
	oro := []byte{0, optDNS6, 0, optSearch6, 0, optBootURL6}
	m.add(optORO6, oro)
	return m
}

// ia is the node's one identity association, with the address where it has one.
func (c *client6) ia(addr netip.Addr) []byte {
	b := binary.BigEndian.AppendUint32(nil, c.iaid)
	b = append(b, make([]byte, 8)...) // T1 and T2 are the server's to say.
	if !addr.IsValid() {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, optIAAddr6)
	b = binary.BigEndian.AppendUint16(b, 24)
	ip := addr.As16()
	b = append(b, ip[:]...)
	return append(b, make([]byte, 8)...)
}

// ask sends a message until an answer fits, with growing waits, or ctx ends.
// The error is then ctx's.
func (c *client6) ask(ctx context.Context, m *message6, fits func(*message6) bool) (*message6, error) {
	stop := panics.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(servers6.WithZone(c.device), serverPort6))
	buffer := make([]byte, 64<<10)
	for wait := firstAnswer; ; wait = min(2*wait, maxAnswer) {
		elapsed := binary.BigEndian.AppendUint16(nil, uint16(min(time.Since(c.start)/(10*time.Millisecond), 0xffff)))
		timed := message6{kind: m.kind, xid: m.xid, options: append(slices.Clone(m.options), option6{optElapsed6, elapsed})}
		if _, err := c.conn.WriteTo(timed.encode(), to); err != nil && !isPassing(err) {
			return nil, fmt.Errorf("network: DHCPv6 on %s: %w", c.device, err)
		}
		if err := c.conn.SetReadDeadline(time.Now().Add(jitter(wait))); err != nil {
			return nil, err
		}
		for {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			n, _, err := c.conn.ReadFrom(buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("network: DHCPv6 on %s: %w", c.device, err)
			}
			answer, ok := parse6(buffer[:n])
			if ok && answer.xid == m.xid && bytes.Equal(answer.get(optClientID6), c.duid) && fits(&answer) {
				return &answer, nil
			}
		}
	}
}

// isPassing is for what a link does that is coming up or going down.
func isPassing(err error) bool {
	for _, e := range []error{unix.ENETDOWN, unix.ENETUNREACH, unix.EADDRNOTAVAIL, unix.ENOBUFS, unix.EHOSTUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lease goes from SOLICIT to REPLY.
func (c *client6) lease(ctx context.Context) (*binding, error) {
	m := c.message(solicit6)
	m.add(optIANA6, c.ia(netip.Addr{}))
	var offered binding
	_, err := c.ask(ctx, m, func(a *message6) bool {
		offered = bindingOf(a, c.iaid)
		return a.kind == advertise6 && len(offered.server) > 0 && offered.addr.IsValid()
	})
	if err != nil {
		if offered.status != statusOK {
			err = fmt.Errorf("the DHCPv6 server says %q (status %d)", offered.statusText, offered.status)
		}
		return nil, err
	}
	m = c.message(request6)
	m.add(optServerID6, offered.server)
	m.add(optIANA6, c.ia(offered.addr))
	return c.reply(ctx, m)
}

// reply asks for something and reads the server's last word.
func (c *client6) reply(ctx context.Context, m *message6) (*binding, error) {
	answer, err := c.ask(ctx, m, func(a *message6) bool { return a.kind == reply6 })
	if err != nil {
		return nil, err
	}
	b := bindingOf(answer, c.iaid)
	if b.status != statusOK {
		return nil, fmt.Errorf("network: DHCPv6 on %s: %w", c.device, &status6Error{b.status, b.statusText})
	}
	return &b, nil
}

// A status6Error is a DHCPv6 server's no.
type status6Error struct {
	code uint16
	text string
}

func (e *status6Error) Error() string {
	return fmt.Sprintf("the server says %q (status %d)", e.text, e.code)
}

// byDHCP6 fills in a lease by DHCPv6 and puts the address in place. Which
// addresses are on the link only a router says.
func byDHCP6(ctx context.Context, link *rtnetlink.Link, l *Lease) error {
	name := link.Name
	start := time.Now()
	if err := awaitLinkLocal(ctx, link); err != nil {
		return err
	}
	c, err := newClient6(name, link.Index, l.MAC)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	b, err := c.lease(ctx)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil
		}
		carrier, _ := HasCarrier(link)
		return &NoLeaseError{Device: name, MAC: l.MAC, Waited: time.Since(start), Carrier: carrier, V6: true, Err: err}
	}
	if !b.addr.IsValid() {
		return fmt.Errorf("network: DHCPv6 on %s: the server's reply has no address", name)
	}
	l.Addr = netip.PrefixFrom(b.addr, 128)
	// No prefix route beside the router's (IFA_F_NOPREFIXROUTE).
	addr := rtnetlink.Address{Prefix: l.Addr, Flags: unix.IFA_F_NOPREFIXROUTE}
	if err := rtnetlink.ReplaceAddress(link, addr); err != nil {
		return fmt.Errorf("network: give %s the address %s: %w", name, b.addr, err)
	}
	if err := awaitUsable(ctx, link, b.addr); err != nil {
		if used := (*InUseError)(nil); errors.As(err, &used) {
			m := c.message(decline6)
			m.add(optServerID6, b.server)
			m.add(optIANA6, c.ia(b.addr))
			_, _ = c.conn.WriteTo(m.encode(), net.UDPAddrFromAddrPort(netip.AddrPortFrom(servers6.WithZone(name), serverPort6)))
			err = errors.Join(err, rtnetlink.DeleteAddress(link, addr))
		}
		return err
	}
	l.Proto = protoDHCP6
	l.Time, l.T1, l.T2 = b.times()
	l.Since = Uptime()
	l.DHCP6 = &Binding6{Server: b.server, IAID: c.iaid}
	l.facts(b)
	return nil
}

// inform6 asks for what is no address.
func inform6(ctx context.Context, link *rtnetlink.Link, l *Lease) error {
	if err := awaitLinkLocal(ctx, link); err != nil {
		return err
	}
	c, err := newClient6(link.Name, link.Index, l.MAC)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	b, err := c.reply(ctx, c.message(information6))
	if err != nil {
		return fmt.Errorf("network: a router promises name servers by DHCPv6 on %s: %w", c.device, err)
	}
	l.facts(b)
	return nil
}

// facts takes what came beside the address. A boot file that is an NFS address
// is the root path, for which DHCPv6 has no option.
func (l *Lease) facts(b *binding) {
	if len(b.dns) > 0 {
		l.DNS = b.dns
	}
	if len(b.search) > 0 {
		l.Search = b.search
	}
	if strings.HasPrefix(b.bootURL, "nfs:") || strings.HasPrefix(b.bootURL, "nfs4:") {
		l.RootPath = b.bootURL
	} else {
		l.BootFile = b.bootURL
	}
}
