package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/network/dhcp6"
	"github.com/sidusboot/sidusboot/panics"
)

const (
	// maxSleep is the longest single timer: Go's timers do not run while a machine
	// is suspended.
	maxSleep = 30 * time.Second
	// leastPause is the time between two requests (RFC 2131, section 4.4.5: 60 s), for
	// leases that are long enough for it; else it is a sixteenth of the lease.
	leastPause = 60 * time.Second
	// expiredPause is the time between two tries to get an expired lease again.
	expiredPause = 15 * time.Second
	// answerTime is how long a server may take to answer one request.
	answerTime = 4 * time.Second
)

// A phase is a state of a lease (RFC 2131, figure 5).
type phase int

const (
	bound     phase = iota
	renewing        // the server that gave it is asked
	rebinding       // any server is asked
	expired         // it has run out: asked for again
)

// phaseAt is the phase of a lease of some age, and how long to wait before the next
// step: until that is due, or between two tries.
func (s *LeaseState) phaseAt(age time.Duration) (phase, time.Duration) {
	least := min(leastPause, s.Time/16)
	switch {
	case age < s.T1:
		return bound, s.T1 - age
	case age < s.T2:
		return renewing, max((s.T2-age)/2, least)
	case age < s.Time:
		return rebinding, max((s.Time-age)/2, least)
	}
	return expired, min(expiredPause, max(s.Time/4, time.Second))
}

// Renew renews the lease until ctx ends. It never removes the address from the
// device, because the root file system needs it. Failures, and their end, are
// reported by logf.
func (s *LeaseState) Renew(ctx context.Context, logf func(format string, args ...any)) {
	k := &renewal{LeaseState: s, logf: logf}
	for ctx.Err() == nil {
		phase, pause := s.phaseAt(clock.Uptime() - s.Since)
		if phase != bound {
			k.step(ctx, phase)
			if clock.Uptime()-s.Since < s.T1 {
				continue // Renewed.
			}
			pause = jitter(pause)
		}
		sleep(ctx, pause)
	}
}

// sleep waits for at most pause, on the clock that also counts while the machine
// is suspended.
func sleep(ctx context.Context, pause time.Duration) {
	for end := clock.Uptime() + pause; ctx.Err() == nil; {
		left := end - clock.Uptime()
		if left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(left, maxSleep)):
		}
	}
}

// A renewal is a LeaseState while it is renewed.
type renewal struct {
	*LeaseState
	logf    func(format string, args ...any)
	trouble string // reported last
}

// step asks a server once.
func (r *renewal) step(ctx context.Context, p phase) {
	ask := r.request4
	if r.DHCP6 != nil {
		ask = r.request6
	}
	err := ask(ctx, p)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if r.trouble != "" {
			r.logf("network: the lease of %s on %s was renewed", r.Addr, r.Device)
		}
		r.trouble = ""
		return
	}
	text := fmt.Sprintf("network: the lease of %s on %s is not renewed: %v", r.Addr, r.Device, err)
	switch p {
	case expired:
		text = fmt.Sprintf("network: THE LEASE OF %s ON %s HAS EXPIRED, and the server may give the address to another node; this node keeps it, because its root file system needs it: %v", r.Addr, r.Device, err)
	case rebinding:
		text += "; it expires soon"
	}
	if text != r.trouble {
		r.logf("%s", text)
		r.trouble = text
	}
}

var errNoAnswer = errors.New("no answer from DHCP")

// request4 renews, rebinds or asks for the lease again (RFC 2131, section 4.3.2, table 4).
func (r *renewal) request4(ctx context.Context, p phase) error {
	conn, err := listenUDP(unix.AF_INET, r.Device, clientPort)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &exchange4{renewal: r, conn: conn, xid: newXID()}
	m := c.message(dhcpv4.MessageTypeRequest)
	m.ClientIPAddr = r.Addr.AsSlice()
	to := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if p == renewing && r.Server.IsValid() {
		to = r.Server
	}
	answer, err := c.roundTrip(ctx, m, to, isAnswer)
	if err != nil {
		return err
	}
	if answer != nil && messageType(answer) == dhcpv4.MessageTypeAck {
		return c.acceptACK(answer)
	}
	refused := errNoAnswer
	if answer != nil {
		refused = r.refusal(answer)
	}
	if answer == nil && p != expired {
		return refused
	}
	// The server does not know the lease any more: ask for the same address again.
	if err := c.discoverAgain(ctx); err != nil && !errors.Is(err, errNoAnswer) {
		return err
	} else if err == nil {
		return nil
	}
	return refused
}

// An exchange4 is one exchange for a lease whose address is in place.
type exchange4 struct {
	*renewal
	conn *udpPort
	xid  dhcpv4.TransactionID
}

func (x *exchange4) message(kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	return newMessage(kind, x.xid, x.MAC, dhcpOptions{clientID: x.ClientID, hostname: x.Hostname}, 0)
}

// discoverAgain goes from DISCOVER to ACK, for the address that the node has.
func (x *exchange4) discoverAgain(ctx context.Context) error {
	all := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	m := x.message(dhcpv4.MessageTypeDiscover)
	m.SetBroadcast() // An answer to another address would not be received.
	m.Options[optRequestedIP] = x.Addr.AsSlice()
	instead := errNoAnswer
	offer, err := x.roundTrip(ctx, m, all, func(m *dhcpv4.DHCPv4) bool {
		server, got := serverID(m), addr4(m.YourIPAddr)
		if messageType(m) != dhcpv4.MessageTypeOffer || !server.IsValid() {
			return false
		}
		if got != x.Addr { // Another server may offer the right one.
			instead = fmt.Errorf("the DHCP server %s would give this node %s instead: reboot the node, or correct the server", server, got)
		}
		return got == x.Addr
	})
	if err != nil {
		return err
	}
	if offer == nil {
		return instead
	}
	m = x.message(dhcpv4.MessageTypeRequest)
	m.SetBroadcast()
	m.Options[optRequestedIP] = x.Addr.AsSlice()
	m.Options[optServerID] = serverID(offer).AsSlice()
	answer, err := x.roundTrip(ctx, m, all, isAnswer)
	switch {
	case err != nil:
		return err
	case answer == nil:
		return errNoAnswer
	case messageType(answer) == dhcpv4.MessageTypeNak:
		return x.refusal(answer)
	}
	return x.acceptACK(answer)
}

// refusal is what a NAK says. One without a server's identifier is taken for
// that of the server that gave the lease.
func (s *LeaseState) refusal(nak *dhcpv4.DHCPv4) error {
	server := serverID(nak)
	if !server.IsValid() {
		server = s.Server
	}
	return &RefusedError{Server: server, Message: cleanText(textOf(nak, optMessage)), Renewal: true}
}

// acceptACK takes an ACK.
func (x *exchange4) acceptACK(ack *dhcpv4.DHCPv4) error {
	l, err := leaseFrom(ack, x.Device, x.MAC)
	if err != nil {
		return err
	}
	if l.Addr.Addr() != x.Addr {
		return fmt.Errorf("the DHCP server %s gives this node %s instead: reboot the node, or correct the server", l.ServerID, l.Addr.Addr())
	}
	if l.ServerID.IsValid() {
		x.Server = l.ServerID
	}
	x.setTimes(l.Time, l.T1, l.T2)
	return nil
}

// setTimes sets the times of a lease that was renewed. A server that now gives it
// without an end is asked again after a day all the same.
func (s *LeaseState) setTimes(lease, t1, t2 time.Duration) {
	if lease <= 0 {
		const day = 24 * time.Hour
		lease, t1, t2 = 4*day, day, 3*day
	}
	s.Time, s.T1, s.T2, s.Since = lease, t1, t2, clock.Uptime()
	if s.OnRenewal != nil {
		s.OnRenewal()
	}
}

// roundTrip sends a message and waits for an answer that fits; nil is none.
func (x *exchange4) roundTrip(ctx context.Context, m *dhcpv4.DHCPv4, to netip.Addr, fits func(*dhcpv4.DHCPv4) bool) (*dhcpv4.DHCPv4, error) {
	stop := panics.AfterFunc(ctx, func() { _ = x.conn.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := x.conn.send(m.ToBytes(), netip.AddrPortFrom(to, serverPort)); err != nil && !isTemporary(err) {
		return nil, err
	}
	if err := x.conn.file.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	buffer := make([]byte, 64<<10)
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n, err := x.conn.receive(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err != nil && !isTemporary(err) && !errors.Is(err, unix.ECONNREFUSED) {
			return nil, err
		}
		if err != nil {
			continue
		}
		if answer := parseReply(buffer[:n], x.xid, x.MAC); answer != nil && fits(answer) {
			return answer, nil
		}
	}
}

// request6 renews, rebinds or asks for the lease again (RFC 8415, sections 18.2.4 and 18.2.5).
func (r *renewal) request6(ctx context.Context, p phase) error {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	c, err := newClient6(r.Device, r.Index, r.MAC)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	c.iaid = r.DHCP6.IAID
	kind := byte(dhcp6.Rebind)
	if p == renewing {
		kind = dhcp6.Renew
	}
	m := c.message(kind)
	if p == renewing {
		m.Add(dhcp6.OptServerID, r.DHCP6.Server)
	}
	m.Add(dhcp6.OptIANA, dhcp6.IANA(c.iaid, r.Addr))
	b, err := c.reply(ctx, m)
	if no := (*status6Error)(nil); errors.As(err, &no) && no.code == dhcp6.StatusNoBinding {
		b, err = c.lease(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return errNoAnswer
	}
	if err != nil {
		return err
	}
	if b.Addr != r.Addr {
		return fmt.Errorf("the DHCPv6 server gives this node %s instead: reboot the node, or correct the server", b.Addr)
	}
	if len(b.Server) > 0 {
		r.DHCP6.Server = b.Server
	}
	r.setTimes(times6(b))
	return nil
}
