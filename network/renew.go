package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network/dhcp6"
	"github.com/sidusboot/sidusboot/panics"
)

// Uptime is the time since the machine started, its sleep included.
func Uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

const (
	// napTime bounds a sleep: Go's timers stand still while a machine sleeps.
	napTime = 30 * time.Second
	// leastPause is between two requests (RFC 2131, section 4.4.5: 60 s), for
	// leases that are long enough for it; else it is a sixteenth of the lease.
	leastPause = 60 * time.Second
	// lostPause is between two tries to have an address back that ran out.
	lostPause = 15 * time.Second
	// answerTime is what a server gets to answer one request.
	answerTime = 4 * time.Second
)

// A phase is where in its life a lease is (RFC 2131, figure 5).
type phase int

const (
	bound     phase = iota
	renewing        // the server that gave it is asked
	rebinding       // any server is asked
	lost            // it has run out: asked for anew
)

// plan tells where a lease of some age is, and how long to wait before the next
// step: until its time comes, or between two tries.
func (t *Tenancy) plan(age time.Duration) (phase, time.Duration) {
	least := min(leastPause, t.Time/16)
	switch {
	case age < t.T1:
		return bound, t.T1 - age
	case age < t.T2:
		return renewing, max((t.T2-age)/2, least)
	case age < t.Time:
		return rebinding, max((t.Time-age)/2, least)
	}
	return lost, min(lostPause, max(t.Time/4, time.Second))
}

// Keep renews the lease until ctx ends. The address is never taken off the
// device: the node's root hangs on it. Trouble, and its end, is told by logf.
func (t *Tenancy) Keep(ctx context.Context, logf func(format string, args ...any)) {
	k := &tenant{Tenancy: t, logf: logf}
	for ctx.Err() == nil {
		phase, pause := t.plan(Uptime() - t.Since)
		if phase != bound {
			k.step(ctx, phase)
			if Uptime()-t.Since < t.T1 {
				continue // Renewed.
			}
			pause = jitter(pause)
		}
		nap(ctx, pause)
	}
}

// nap sleeps at most pause, on the clock that goes on while the machine sleeps.
func nap(ctx context.Context, pause time.Duration) {
	for end := Uptime() + pause; ctx.Err() == nil; {
		left := end - Uptime()
		if left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(left, napTime)):
		}
	}
}

// A tenant is a Tenancy at work.
type tenant struct {
	*Tenancy
	logf    func(format string, args ...any)
	trouble string // told last
}

// step asks once and takes what comes of it.
func (k *tenant) step(ctx context.Context, p phase) {
	ask := k.ask4
	if k.DHCP6 != nil {
		ask = k.ask6
	}
	err := ask(ctx, p)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if k.trouble != "" {
			k.logf("network: the lease of %s on %s is renewed again", k.Addr, k.Device)
		}
		k.trouble = ""
		return
	}
	text := fmt.Sprintf("network: the lease of %s on %s is not renewed: %v", k.Addr, k.Device, err)
	switch p {
	case lost:
		text = fmt.Sprintf("network: THE LEASE OF %s ON %s HAS RUN OUT, and the server may give the address to another node; this one keeps it, because its root hangs on it: %v", k.Addr, k.Device, err)
	case rebinding:
		text += "; it runs out soon"
	}
	if text != k.trouble {
		k.logf("%s", text)
		k.trouble = text
	}
}

var errNoAnswer = errors.New("no answer from DHCP")

// ask4 renews, rebinds or asks anew (RFC 2131, section 4.3.2, table 4).
func (k *tenant) ask4(ctx context.Context, p phase) error {
	conn, err := listenUDP(unix.AF_INET, k.Device, clientPort)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &renewer{tenant: k, conn: conn, xid: newXID()}
	m := c.message(dhcpv4.MessageTypeRequest)
	m.ClientIPAddr = k.Addr.AsSlice()
	to := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if p == renewing && k.Server.IsValid() {
		to = k.Server
	}
	answer, err := c.exchange(ctx, m, to, isAnswer)
	if err != nil {
		return err
	}
	if answer != nil && answer.MessageType() == dhcpv4.MessageTypeAck {
		return c.take(answer)
	}
	refused := errNoAnswer
	if answer != nil {
		refused = k.refusal(answer)
	}
	if answer == nil && p != lost {
		return refused
	}
	// The server does not know the lease any more: for the same address anew.
	if err := c.anew(ctx); err != nil && !errors.Is(err, errNoAnswer) {
		return err
	} else if err == nil {
		return nil
	}
	return refused
}

// A renewer is one exchange for a lease whose address is in place.
type renewer struct {
	*tenant
	conn net.PacketConn
	xid  dhcpv4.TransactionID
}

func (c *renewer) message(kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	return newMessage(kind, c.xid, c.MAC, DHCPOptions{ClientID: c.ClientID, Hostname: c.Hostname}, 0)
}

// anew goes from DISCOVER to ACK, for the address that the node has.
func (c *renewer) anew(ctx context.Context) error {
	all := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	m := c.message(dhcpv4.MessageTypeDiscover)
	m.SetBroadcast() // An answer to another address would not be heard.
	m.UpdateOption(dhcpv4.OptRequestedIPAddress(c.Addr.AsSlice()))
	instead := errNoAnswer
	offer, err := c.exchange(ctx, m, all, func(m *dhcpv4.DHCPv4) bool {
		server, got := addr4(m.ServerIdentifier()), addr4(m.YourIPAddr)
		if m.MessageType() != dhcpv4.MessageTypeOffer || !server.IsValid() {
			return false
		}
		if got != c.Addr { // There may be a server that knows better.
			instead = fmt.Errorf("the DHCP server %s would give this node %s instead: reboot it, or correct the server", server, got)
		}
		return got == c.Addr
	})
	if err != nil {
		return err
	}
	if offer == nil {
		return instead
	}
	m = c.message(dhcpv4.MessageTypeRequest)
	m.SetBroadcast()
	m.UpdateOption(dhcpv4.OptRequestedIPAddress(c.Addr.AsSlice()))
	m.UpdateOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))
	answer, err := c.exchange(ctx, m, all, isAnswer)
	switch {
	case err != nil:
		return err
	case answer == nil:
		return errNoAnswer
	case answer.MessageType() == dhcpv4.MessageTypeNak:
		return c.refusal(answer)
	}
	return c.take(answer)
}

// refusal is what a NAK says. One without a server's identifier is taken for
// that of the server that gave the lease.
func (t *Tenancy) refusal(nak *dhcpv4.DHCPv4) error {
	server := addr4(nak.ServerIdentifier())
	if !server.IsValid() {
		server = t.Server
	}
	return &RefusedError{Server: server, Message: text(nak.Message()), Renewal: true}
}

// take takes an ACK.
func (c *renewer) take(ack *dhcpv4.DHCPv4) error {
	l, err := leaseFrom(ack, c.Device, c.MAC)
	if err != nil {
		return err
	}
	if l.Addr.Addr() != c.Addr {
		return fmt.Errorf("the DHCP server %s gives this node %s instead: reboot it, or correct the server", l.ServerID, l.Addr.Addr())
	}
	if l.ServerID.IsValid() {
		c.Server = l.ServerID
	}
	c.renewed(l.Time, l.T1, l.T2)
	return nil
}

// renewed begins a new time. A server that now gives for ever is asked again
// after a day all the same.
func (t *Tenancy) renewed(lease, t1, t2 time.Duration) {
	if lease <= 0 {
		const day = 24 * time.Hour
		lease, t1, t2 = 4*day, day, 3*day
	}
	t.Time, t.T1, t.T2, t.Since = lease, t1, t2, Uptime()
	if t.Renewed != nil {
		t.Renewed()
	}
}

// exchange sends a message and waits for the answer that fits; nil is none.
func (c *renewer) exchange(ctx context.Context, m *dhcpv4.DHCPv4, to netip.Addr, fits func(*dhcpv4.DHCPv4) bool) (*dhcpv4.DHCPv4, error) {
	stop := panics.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.conn.WriteTo(m.ToBytes(), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, serverPort))); err != nil && !isPassing(err) {
		return nil, err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	buffer := make([]byte, 64<<10)
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n, _, err := c.conn.ReadFrom(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err != nil && !isPassing(err) && !errors.Is(err, unix.ECONNREFUSED) {
			return nil, err
		}
		if err != nil {
			continue
		}
		if answer := parseReply(buffer[:n], c.xid, c.MAC); answer != nil && fits(answer) {
			return answer, nil
		}
	}
}

// ask6 renews, rebinds or asks anew (RFC 8415, sections 18.2.4 and 18.2.5).
func (k *tenant) ask6(ctx context.Context, p phase) error {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	c, err := newClient6(k.Device, k.Index, k.MAC)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	c.iaid = k.DHCP6.IAID
	kind := byte(dhcp6.Rebind)
	if p == renewing {
		kind = dhcp6.Renew
	}
	m := c.message(kind)
	if p == renewing {
		m.Add(dhcp6.OptServerID, k.DHCP6.Server)
	}
	m.Add(dhcp6.OptIANA, dhcp6.IANA(c.iaid, k.Addr))
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
	if b.Addr != k.Addr {
		return fmt.Errorf("the DHCPv6 server gives this node %s instead: reboot it, or correct the server", b.Addr)
	}
	if len(b.Server) > 0 {
		k.DHCP6.Server = b.Server
	}
	k.renewed(times6(b))
	return nil
}
