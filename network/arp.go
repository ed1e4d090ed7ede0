package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"
)

// An InUseError says that another host on the link has the address that this
// node was given.
type InUseError struct {
	Device string
	Addr   netip.Addr
	// Owner is the address of the card that has it; nil where that is not known.
	Owner net.HardwareAddr
}

func (e *InUseError) Error() string {
	owner := "another machine"
	if e.Owner != nil {
		owner = e.Owner.String()
	}
	return fmt.Sprintf("%s: the address %s is in use by %s: find that machine, or give this node another address", e.Device, e.Addr, owner)
}

// A NoARPReplyError says that a host on the link does not answer ARP.
type NoARPReplyError struct {
	Device string
	Addr   netip.Addr
	Waited time.Duration
}

func (e *NoARPReplyError) Error() string {
	return fmt.Sprintf("%s does not answer ARP on %s in %v: is it up and in the same VLAN as this node?", e.Addr, e.Device, e.Waited.Round(time.Second))
}

// Probing as in RFC 5227, section 2.1.1, takes 5 to 9 s, for hosts on wireless
// links that may be in power saving. Wired hosts answer at once, so a node also
// asks three times, but waits less.
const (
	probes    = 3
	probeGap  = 80 * time.Millisecond
	probeWait = 120 * time.Millisecond // after the last
)

// How long to listen before the second probe, where another host asks for the
// same address. Of two nodes that were given one address at the same moment the
// one with the lower MAC comes first: when the other one asks again, it has the
// address in place and answers.
const (
	againFirst = time.Second
	againLater = 3 * time.Second
)

// checkUnused asks on the link whether another host has an IPv4 address. It takes
// a third of a second where none has; otherwise the error is an *InUseError.
//
// A host that also asks for the address, from no address, is going to use it
// (RFC 5227, section 2.1.1), or is a switch that looks for its hosts (Cisco's IP
// device tracking does so as soon as a link is up or a lease was given, at every
// boot). The link is then asked a second time, and only a host that has the
// address counts.
func checkUnused(ctx context.Context, link *rtnetlink.Link, addr netip.Addr) error {
	c, err := openARP(link)
	if err != nil {
		return err
	}
	defer c.Close()
	// A node with two cards on one link answers on both (RFC 5227, 2.1.1).
	if c.own, err = ownMACs(); err != nil {
		return err
	}
	rival, err := c.probe(ctx, addr)
	if err != nil || rival == nil {
		return err
	}
	wait := againFirst
	if bytes.Compare(rival, c.mac) < 0 {
		wait = againLater
	}
	if _, err := c.listen(ctx, addr, wait); err != nil {
		return err
	}
	_, err = c.probe(ctx, addr)
	return err
}

// probe asks for an address. Who has it is an *InUseError; rival is one that
// asks for it as we do, and nil where no host does.
func (c *arpConn) probe(ctx context.Context, addr netip.Addr) (rival net.HardwareAddr, err error) {
	for i := range probes {
		// From no address: no host must store an answer (RFC 5227, 1.1).
		if err := c.request(netip.IPv4Unspecified(), addr); err != nil {
			return nil, err
		}
		wait := probeGap
		if i == probes-1 {
			wait = probeWait
		}
		other, err := c.listen(ctx, addr, wait)
		if err != nil {
			return nil, err
		}
		rival = lower(rival, other)
	}
	return rival, nil
}

// listen receives for a while what other hosts send about an address, see probe.
func (c *arpConn) listen(ctx context.Context, addr netip.Addr, wait time.Duration) (rival net.HardwareAddr, err error) {
	deadline := time.Now().Add(wait)
	for {
		m, err := c.receive(ctx, deadline)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return rival, nil
		case err != nil:
			return nil, err
		case m.senderIP == addr:
			return nil, &InUseError{Device: c.device, Addr: addr, Owner: m.sender}
		case m.op == arpRequest && m.senderIP.IsUnspecified() && m.targetIP == addr:
			rival = lower(rival, m.sender)
		}
	}
}

// lower is the rival that comes first: of three hosts that ask at once, only one
// comes before all others.
func lower(a, b net.HardwareAddr) net.HardwareAddr {
	if a == nil || b != nil && bytes.Compare(b, a) < 0 {
		return b
	}
	return a
}

// resolveGap is the time between two questions for one host.
const resolveGap = 500 * time.Millisecond

// ResolveMAC asks for the hardware address of a host on the link until it answers
// or ctx ends; then the error is a *NoARPReplyError. self is the node's own
// address.
func ResolveMAC(ctx context.Context, link *rtnetlink.Link, self, host netip.Addr) (net.HardwareAddr, error) {
	c, err := openARP(link)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	start := time.Now()
	for {
		if err := c.request(self, host); err != nil {
			return nil, err
		}
		deadline := time.Now().Add(resolveGap)
		for {
			m, err := c.receive(ctx, deadline)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if ctx.Err() != nil {
				return nil, &NoARPReplyError{Device: c.device, Addr: host, Waited: time.Since(start)}
			}
			if err != nil {
				return nil, err
			}
			if m.senderIP == host {
				return m.sender, nil
			}
		}
	}
}

// announce tells the hosts on the link that this node has the address from now
// on, so that none of them sends to the card that had it before (RFC 5227,
// section 2.3).
func announce(link *rtnetlink.Link, addr netip.Addr) error {
	c, err := openARP(link)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.request(addr, addr)
}

// ARP for IPv4 over Ethernet (RFC 826).
const (
	arpEthernet = 1
	arpIPv4     = 0x0800
	arpRequest  = 1
	arpLen      = 28
)

// An arpConn speaks ARP on one device.
type arpConn struct {
	*packetConn
	device string
	mac    net.HardwareAddr
	own    []net.HardwareAddr // of the node's other cards
}

func ownMACs() ([]net.HardwareAddr, error) {
	all, err := links()
	var macs []net.HardwareAddr
	for _, l := range all {
		macs = append(macs, l.HardwareAddr)
	}
	return macs, err
}

// isOwn tells whether a message came from this node.
func (c *arpConn) isOwn(sender net.HardwareAddr) bool {
	is := func(mac net.HardwareAddr) bool { return bytes.Equal(mac, sender) }
	return is(c.mac) || slices.ContainsFunc(c.own, is)
}

func openARP(link *rtnetlink.Link) (*arpConn, error) {
	attrs := link
	if len(attrs.HardwareAddr) != 6 {
		return nil, fmt.Errorf("network: %s is not an Ethernet device: its address is %q", attrs.Name, attrs.HardwareAddr)
	}
	conn, err := openPacket(attrs.Index, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, err
	}
	return &arpConn{packetConn: conn, device: attrs.Name, mac: attrs.HardwareAddr}, nil
}

func (c *arpConn) request(sender, target netip.Addr) error {
	b := make([]byte, arpLen)
	binary.BigEndian.PutUint16(b[0:], arpEthernet)
	binary.BigEndian.PutUint16(b[2:], arpIPv4)
	b[4], b[5] = 6, 4 // Lengths of the two kinds of address.
	binary.BigEndian.PutUint16(b[6:], arpRequest)
	from, to := sender.As4(), target.As4()
	copy(b[8:], c.mac)
	copy(b[14:], from[:])
	copy(b[24:], to[:])
	if err := c.send(broadcastMAC, b); err != nil {
		return fmt.Errorf("network: ARP on %s: %w", c.device, err)
	}
	return nil
}

// An arpMessage is another host's.
type arpMessage struct {
	op                 uint16
	sender             net.HardwareAddr
	senderIP, targetIP netip.Addr
}

// receive waits for a message of another host.
func (c *arpConn) receive(ctx context.Context, deadline time.Time) (arpMessage, error) {
	var b [64]byte
	for {
		n, _, err := c.packetConn.receive(ctx, b[:], deadline)
		if err != nil {
			return arpMessage{}, err
		}
		if m, ok := parseARP(b[:n]); ok && !c.isOwn(m.sender) {
			return m, nil
		}
	}
}

func parseARP(b []byte) (m arpMessage, ok bool) {
	if len(b) < arpLen || binary.BigEndian.Uint16(b) != arpEthernet || binary.BigEndian.Uint16(b[2:]) != arpIPv4 || b[4] != 6 || b[5] != 4 {
		return m, false
	}
	m.op = binary.BigEndian.Uint16(b[6:])
	m.sender = append(net.HardwareAddr(nil), b[8:14]...)
	m.senderIP = netip.AddrFrom4([4]byte(b[14:18]))
	m.targetIP = netip.AddrFrom4([4]byte(b[24:28]))
	return m, true
}
