package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/network/dhcp6"
	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

const (
	serverPort6 = 547
	clientPort6 = 546
)

// servers6 are all DHCPv6 servers and relays on the link.
var servers6 = netip.AddrPortFrom(netip.MustParseAddr("ff02::1:2"), serverPort6)

// A client6 speaks DHCPv6 on one link.
type client6 struct {
	conn   *udpPort
	device string
	index  int
	duid   []byte
	iaid   uint32
	start  time.Time
}

// newClient6 opens the client's port on one device. The device must have its
// link-local address already.
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

// A udpPort is a port that is open on one device.
type udpPort struct{ file *os.File }

// listenUDP opens a port on one device, whatever has it open on others.
func listenUDP(family int, device string, port int) (*udpPort, error) {
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
	if err != nil {
		return nil, fmt.Errorf("network: UDP port %d on %s: %w", port, device, errors.Join(err, unix.Close(fd)))
	}
	return &udpPort{os.NewFile(uintptr(fd), "udp")}, nil
}

func (p *udpPort) Close() error { return p.file.Close() }

// send sends a datagram. To all hosts on the link it goes by the port's device.
func (p *udpPort) send(b []byte, to netip.AddrPort) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var addr unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if to.Addr().Is4() {
		addr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendto(int(fd), b, 0, addr)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

// receive waits for a datagram, which may be empty, until the read deadline.
func (p *udpPort) receive(b []byte) (int, error) {
	n, err := p.file.Read(b)
	if errors.Is(err, io.EOF) {
		return 0, nil
	}
	return n, err
}

func (c *client6) message(kind byte) *dhcp6.Message {
	n := rand.Uint32()
	m := &dhcp6.Message{Kind: kind, XID: [3]byte{byte(n), byte(n >> 8), byte(n >> 16)}}
	m.Add(dhcp6.OptClientID, c.duid)
	oro := []byte{0, dhcp6.OptDNS, 0, dhcp6.OptSearch, 0, dhcp6.OptBootURL}
	m.Add(dhcp6.OptOptionRequest, oro)
	return m
}

// ask sends a message until an answer fits, with growing waits, or ctx ends.
// The error is then ctx's.
func (c *client6) ask(ctx context.Context, m *dhcp6.Message, fits func(*dhcp6.Message) bool) (*dhcp6.Message, error) {
	stop := panics.AfterFunc(ctx, func() { _ = c.conn.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buffer := make([]byte, 64<<10)
	for wait := firstAnswer; ; wait = min(2*wait, maxAnswer) {
		elapsed := binary.BigEndian.AppendUint16(nil, uint16(min(time.Since(c.start)/(10*time.Millisecond), 0xffff)))
		timed := dhcp6.Message{Kind: m.Kind, XID: m.XID, Options: append(slices.Clone(m.Options), dhcp6.Option{Code: dhcp6.OptElapsedTime, Value: elapsed})}
		if err := c.conn.send(timed.Encode(), servers6); err != nil && !isTemporary(err) {
			return nil, fmt.Errorf("network: DHCPv6 on %s: %w", c.device, err)
		}
		if err := c.conn.file.SetReadDeadline(time.Now().Add(jitter(wait))); err != nil {
			return nil, err
		}
		for {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			n, err := c.conn.receive(buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("network: DHCPv6 on %s: %w", c.device, err)
			}
			answer, err := dhcp6.Parse(buffer[:n])
			if err == nil && answer.XID == m.XID && bytes.Equal(answer.Get(dhcp6.OptClientID), c.duid) && fits(answer) {
				return answer, nil
			}
		}
	}
}

// isTemporary tells whether an error passes when the link is up.
func isTemporary(err error) bool {
	for _, e := range []error{unix.ENETDOWN, unix.ENETUNREACH, unix.EADDRNOTAVAIL, unix.ENOBUFS, unix.EHOSTUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lease goes from SOLICIT to REPLY.
func (c *client6) lease(ctx context.Context) (*dhcp6.Answer, error) {
	m := c.message(dhcp6.Solicit)
	m.Add(dhcp6.OptIANA, dhcp6.IANA(c.iaid, netip.Addr{}))
	var offered *dhcp6.Answer
	_, err := c.ask(ctx, m, func(a *dhcp6.Message) bool {
		offered = a.Answer(c.iaid)
		return a.Kind == dhcp6.Advertise && len(offered.Server) > 0 && offered.Addr.IsValid()
	})
	if err != nil {
		if offered != nil && offered.Status != dhcp6.StatusSuccess {
			err = fmt.Errorf("the DHCPv6 server answers %q (status %d)", cleanText(offered.StatusText), offered.Status)
		}
		return nil, err
	}
	m = c.message(dhcp6.Request)
	m.Add(dhcp6.OptServerID, offered.Server)
	m.Add(dhcp6.OptIANA, dhcp6.IANA(c.iaid, offered.Addr))
	return c.reply(ctx, m)
}

// reply sends a message and reads the server's REPLY.
func (c *client6) reply(ctx context.Context, m *dhcp6.Message) (*dhcp6.Answer, error) {
	answer, err := c.ask(ctx, m, func(a *dhcp6.Message) bool { return a.Kind == dhcp6.Reply })
	if err != nil {
		return nil, err
	}
	a := answer.Answer(c.iaid)
	if a.Status != dhcp6.StatusSuccess {
		return nil, fmt.Errorf("network: DHCPv6 on %s: %w", c.device, &status6Error{a.Status, cleanText(a.StatusText)})
	}
	return a, nil
}

// A status6Error is a refusal of a DHCPv6 server.
type status6Error struct {
	code uint16
	text string
}

func (e *status6Error) Error() string {
	return fmt.Sprintf("the server answers %q (status %d)", e.text, e.code)
}

// getDHCP6Lease fills in a lease by DHCPv6 and applies the address. Which
// addresses are on the link is known from a router only.
func getDHCP6Lease(ctx context.Context, link *rtnetlink.Link, l *Lease) error {
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
		carrier, _ := hasCarrier(link)
		return &NoLeaseError{Device: name, MAC: l.MAC, Waited: time.Since(start), Carrier: carrier, V6: true, Err: err}
	}
	if !b.Addr.IsValid() {
		return fmt.Errorf("network: DHCPv6 on %s: the server's reply has no address", name)
	}
	l.Addr = netip.PrefixFrom(b.Addr, 128)
	// No prefix route beside the router's (IFA_F_NOPREFIXROUTE).
	addr := rtnetlink.Address{Prefix: l.Addr, Flags: unix.IFA_F_NOPREFIXROUTE}
	if err := rtnetlink.ReplaceAddress(link, addr); err != nil {
		return fmt.Errorf("network: set the address of %s to %s: %w", name, b.Addr, err)
	}
	if err := awaitUsable(ctx, link, b.Addr); err != nil {
		if used := (*InUseError)(nil); errors.As(err, &used) {
			m := c.message(dhcp6.Decline)
			m.Add(dhcp6.OptServerID, b.Server)
			m.Add(dhcp6.OptIANA, dhcp6.IANA(c.iaid, b.Addr))
			_ = c.conn.send(m.Encode(), servers6)
			err = errors.Join(err, rtnetlink.DeleteAddress(link, addr))
		}
		return err
	}
	l.Proto = protoDHCP6
	l.Time, l.T1, l.T2 = times6(b)
	l.Since = clock.Uptime()
	l.DHCP6 = &DHCP6Binding{Server: b.Server, IAID: c.iaid}
	l.addFacts(b)
	return nil
}

// askFacts6 asks for everything but an address.
func askFacts6(ctx context.Context, link *rtnetlink.Link, l *Lease) error {
	if err := awaitLinkLocal(ctx, link); err != nil {
		return err
	}
	c, err := newClient6(link.Name, link.Index, l.MAC)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	b, err := c.reply(ctx, c.message(dhcp6.InformationRequest))
	if err != nil {
		return fmt.Errorf("network: a router announced name servers by DHCPv6 on %s: %w", c.device, err)
	}
	l.addFacts(b)
	return nil
}

// addFacts takes what came with the address. A boot file that is an NFS URL is
// the root path, for which DHCPv6 has no option.
func (l *Lease) addFacts(a *dhcp6.Answer) {
	if dns := addrList6(a.DNS); len(dns) > 0 {
		l.DNS = dns
	}
	if search := domainNames(a.Search); len(search) > 0 {
		l.Search = search
	}
	bootURL := cleanText(a.BootURL)
	if strings.HasPrefix(bootURL, "nfs:") || strings.HasPrefix(bootURL, "nfs4:") {
		l.RootPath = bootURL
	} else {
		l.BootFile = bootURL
	}
}

// times6 are the lease's length and when to renew and rebind it. Zero leaves
// the latter to the client (RFC 8415, section 21.4).
func times6(a *dhcp6.Answer) (lease, t1, t2 time.Duration) {
	return leaseTimes(a.Valid, a.T1, a.T2)
}
