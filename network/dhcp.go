package network

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"
)

// Ports of DHCP (RFC 2131, section 4.1).
const (
	serverPort = 67
	clientPort = 68
)

// Waits of one exchange. RFC 2131, section 4.1 begins with 4 s; a switch port
// that has just come up forwards nothing for a while, so that the first packet
// is often lost, and the second should not be late.
const (
	firstAnswer = time.Second
	maxAnswer   = 8 * time.Second
	ackTries    = 3
	// offerGrace is how long another server may take to offer what the first
	// lacks.
	offerGrace = 1500 * time.Millisecond
	// afterRefusal limits how often a server is asked that refuses at once.
	afterRefusal = time.Second
	// afterDecline is the least time between a declined address and the next try
	// (RFC 2131, section 3.1).
	afterDecline = 10 * time.Second
)

// dhcpOptions are for one exchange.
type dhcpOptions struct {
	// clientID is option 61, a type byte and a value; empty: none is sent.
	clientID string
	// hostname is option 12, for servers that tell it to DNS; may be empty.
	hostname string
	// preferRoot waits a little for an offer that has a root path, where the first
	// one has none.
	preferRoot bool
	// skipProbe uses the address without a check on the link whether it is in use.
	skipProbe bool
	// logf reports failures that are followed by another try.
	logf func(format string, args ...any)
}

// getLease4 gets a lease on a link that is up. It asks until ctx ends; then the
// error is a *NoLeaseError. Answers without an address that can be used are
// ignored; an address that another host on the link has is declined.
func getLease4(ctx context.Context, link *rtnetlink.Link, o dhcpOptions) (*Lease, error) {
	attrs := link
	c := &dhcpClient{link: link, mac: attrs.HardwareAddr, device: attrs.Name, opts: o, start: time.Now(), failed: map[netip.Addr]bool{}}
	var err error
	if c.conn, err = openPacket(attrs.Index, unix.ETH_P_IP, toPort(clientPort)); err != nil {
		return nil, err
	}
	defer c.conn.Close()
	var last error
	for ctx.Err() == nil {
		lease, err := c.exchange(ctx)
		if err == nil && !o.skipProbe {
			err = c.checkAddress(ctx, link, lease)
		}
		if err == nil {
			for _, u := range lease.Unusable {
				o.logf("network: %s: the server's %s has control characters and is ignored", attrs.Name, u)
			}
			return lease, nil
		}
		if ctx.Err() != nil {
			break
		}
		if _, gone := hasCarrier(link); gone != nil {
			return nil, gone
		}
		if last == nil || last.Error() != err.Error() {
			o.logf("network: %s: %v; trying again", attrs.Name, err)
		}
		last = err
		pause := afterRefusal
		if used := (*InUseError)(nil); errors.As(err, &used) {
			pause = afterDecline
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	carrier, _ := hasCarrier(link)
	return nil, &NoLeaseError{Device: attrs.Name, MAC: attrs.HardwareAddr,
		Waited: time.Since(c.start), Carrier: carrier, Router6: last == nil && c.ignoredOffers == 0 && hearsRouter(link), Err: last}
}

// A dhcpClient is one node's side of DHCP (RFC 2131) on one device.
type dhcpClient struct {
	conn          *packetConn
	link          *rtnetlink.Link
	device        string
	mac           net.HardwareAddr
	opts          dhcpOptions
	start         time.Time
	xid           dhcpv4.TransactionID
	ignoredOffers int
	// hinted: it was reported that there is an IPv6 router.
	hinted bool
	// failed are servers that offered an address and then gave none: the offer of
	// another server is better.
	failed map[netip.Addr]bool
}

// maxIgnored is how many ignored offers are reported.
const maxIgnored = 3

// exchange goes from DISCOVER to ACK, or to a refusal. It waits for offers
// until ctx ends.
func (c *dhcpClient) exchange(ctx context.Context) (*Lease, error) {
	c.xid = newXID()
	offer, err := c.discover(ctx)
	if err != nil {
		return nil, err
	}
	request := c.message(dhcpv4.MessageTypeRequest)
	request.Options[optRequestedIP] = offer.YourIPAddr.To4()
	server := serverID(offer)
	request.Options[optServerID] = server.AsSlice()
	for i := range ackTries {
		answer, err := c.ask(ctx, request, firstAnswer<<i, func(m *dhcpv4.DHCPv4) bool {
			return c.isAnswerTo(m, offer)
		})
		if err != nil {
			return nil, err
		}
		if answer != nil {
			lease, err := c.leaseOf(answer)
			if err == nil && !lease.ServerID.IsValid() {
				lease.ServerID = server
			}
			c.failed[server] = err != nil
			return lease, err
		}
	}
	c.failed[server] = true
	return nil, fmt.Errorf("the DHCP server %s offered %s, but does not answer the request for it", server, offer.YourIPAddr)
}

// isAnswerTo tells whether a message is the answer of the server that made an
// offer.
// An ACK ought to bear its identifier (RFC 2131, table 3); one without is taken
// where it is for the address that was offered, as dhclient and udhcpc do.
func (c *dhcpClient) isAnswerTo(m, offer *dhcpv4.DHCPv4) bool {
	if !isAnswer(m) {
		return false
	}
	switch id := serverID(m); {
	case id == serverID(offer):
	case id.IsValid() || messageType(m) == dhcpv4.MessageTypeNak || !m.YourIPAddr.Equal(offer.YourIPAddr):
		return false
	}
	// An answer that cannot be used may be a forged one that came first.
	_, err := leaseFrom(m, c.device, c.mac)
	return err == nil || messageType(m) == dhcpv4.MessageTypeNak
}

func isAnswer(m *dhcpv4.DHCPv4) bool {
	t := messageType(m)
	return t == dhcpv4.MessageTypeAck || t == dhcpv4.MessageTypeNak
}

// leaseOf is the lease in a server's ACK; a NAK is an error.
func (c *dhcpClient) leaseOf(answer *dhcpv4.DHCPv4) (*Lease, error) {
	if messageType(answer) == dhcpv4.MessageTypeNak {
		return nil, &RefusedError{Server: serverID(answer), Message: cleanText(textOf(answer, optMessage))}
	}
	lease, err := leaseFrom(answer, c.device, c.mac)
	if err != nil {
		return nil, err
	}
	lease.ClientID = c.opts.clientID
	return lease, nil
}

// bestRank is that of an offer which is taken at once.
const bestRank = 3

// rank compares offers: first comes a server that has not failed this node so
// far, then a root path where one is looked for.
func (c *dhcpClient) rank(offer *dhcpv4.DHCPv4) (rank int) {
	if !c.failed[serverID(offer)] {
		rank += 2
	}
	if !c.opts.preferRoot || textOf(offer, optRootPath) != "" {
		rank++
	}
	return rank
}

// discover asks until there is an offer. Of several, it takes the first that has
// all that is needed, else the best of those that came soon after the first.
func (c *dhcpClient) discover(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	for wait := firstAnswer; ; wait = min(2*wait, maxAnswer) {
		if err := c.send(c.message(dhcpv4.MessageTypeDiscover)); err != nil {
			return nil, err
		}
		var best *dhcpv4.DHCPv4
		// Many nodes start at the same time, and must not retry at the same time.
		deadline := time.Now().Add(jitter(wait))
		for {
			offer, err := c.receive(ctx, deadline)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, err
			}
			if messageType(offer) != dhcpv4.MessageTypeOffer {
				continue
			}
			_, err = leaseFrom(offer, c.device, c.mac)
			if err == nil && !serverID(offer).IsValid() {
				err = errNoServerID
			}
			if err != nil {
				if c.ignoredOffers++; c.ignoredOffers <= maxIgnored { // A hostile server sends thousands.
					c.opts.logf("network: %s: an offer of %s is ignored: %v", c.device, offer.YourIPAddr, err)
				}
				continue
			}
			rank := c.rank(offer)
			if rank == bestRank {
				return offer, nil
			}
			if best == nil {
				deadline = time.Now().Add(offerGrace)
			}
			if best == nil || rank > c.rank(best) {
				best = offer
			}
		}
		if best != nil {
			return best, nil
		}
		if !c.hinted && c.ignoredOffers == 0 && time.Since(c.start) > hintAfter && hearsRouter(c.link) {
			c.hinted = true
			c.opts.logf("network: %s: no answer from DHCP so far. %s", c.device, onlyIPv6)
		}
	}
}

// hintAfter is how long there is no answer before an IPv6 router is pointed to.
const hintAfter = 5 * time.Second

// errNoServerID is an offer that does not say which server made it.
var errNoServerID = errors.New("it has no server identifier (option 54)")

// jitter is between three quarters of d and one and a quarter.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

// ask sends a request once and waits for the answer that fits; nil is none.
func (c *dhcpClient) ask(ctx context.Context, request *dhcpv4.DHCPv4, wait time.Duration, fits func(*dhcpv4.DHCPv4) bool) (*dhcpv4.DHCPv4, error) {
	if err := c.send(request); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(wait)
	for {
		m, err := c.receive(ctx, deadline)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, nil
		case err != nil:
			return nil, err
		case fits(m):
			return m, nil
		}
	}
}

// checkAddress asks on the link whether another host has the lease's address, and
// declines the lease then.
func (c *dhcpClient) checkAddress(ctx context.Context, link *rtnetlink.Link, l *Lease) error {
	err := checkUnused(ctx, link, l.Addr.Addr())
	var used *InUseError
	if !errors.As(err, &used) {
		return err
	}
	decline := c.message(dhcpv4.MessageTypeDecline)
	decline.Options[optRequestedIP] = l.Addr.Addr().AsSlice()
	decline.Options[optServerID] = l.ServerID.AsSlice()
	return errors.Join(err, c.send(decline))
}

// release tells the server that a lease is not going to be used.
func release(link *rtnetlink.Link, l *Lease) error {
	conn, err := openPacket(link.Index, unix.ETH_P_IP, toPort(clientPort))
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &dhcpClient{conn: conn, mac: l.MAC, device: l.Device, opts: dhcpOptions{clientID: l.ClientID}, start: time.Now(), xid: newXID()}
	m := c.message(dhcpv4.MessageTypeRelease)
	m.ClientIPAddr = l.Addr.Addr().AsSlice()
	m.Options[optServerID] = l.ServerID.AsSlice()
	return c.send(m)
}

// newXID does not use crypto/rand, which may wait for the kernel's entropy: the
// number has to differ from other nodes', it is not a secret.
func newXID() (xid dhcpv4.TransactionID) {
	n := rand.Uint32()
	return dhcpv4.TransactionID{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
}

// message is a message of this client with what all of them have.
func (c *dhcpClient) message(kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	return newMessage(kind, c.xid, c.mac, c.opts, time.Since(c.start))
}

func (c *dhcpClient) send(m *dhcpv4.DHCPv4) error {
	from, to := netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if a := addr4(m.ClientIPAddr); a.IsValid() {
		from = a
	}
	b := wrapUDP(netip.AddrPortFrom(from, clientPort), netip.AddrPortFrom(to, serverPort), m.ToBytes())
	if err := c.conn.send(broadcastMAC, b); err != nil {
		return fmt.Errorf("network: DHCP on %s: %w", c.device, err)
	}
	return nil
}

// receive waits for a message to this node of the present transaction.
func (c *dhcpClient) receive(ctx context.Context, deadline time.Time) (*dhcpv4.DHCPv4, error) {
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := c.conn.receive(ctx, buffer, deadline)
		if err != nil {
			return nil, err
		}
		payload, ok := unwrapUDP(buffer[:n], clientPort)
		if !ok {
			continue
		}
		if m := parseReply(payload, c.xid, c.mac); m != nil {
			return m, nil
		}
	}
}
