package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A LeaseState is a lease that somebody keeps alive: what it takes to renew it,
// in this process or another.
type LeaseState struct {
	Device string
	Index  int
	MAC    net.HardwareAddr
	Addr   netip.Addr
	// Server is who gave an IPv4 lease.
	Server             netip.Addr
	ClientID, Hostname string
	// Time is the lease's length, T1 and T2 are when to renew and to rebind it,
	// all from Since on, which is on the clock of Uptime.
	Time, T1, T2 time.Duration
	Since        time.Duration
	// DHCP6 is set for a lease of DHCPv6.
	DHCP6 *DHCP6Binding
	// OnRenewal, which may be nil, is called when Time, T1, T2 and Since have
	// changed.
	OnRenewal func()
}

// State is the lease as somebody has to keep it, from now on; nil where it
// does not end. index is the device's.
func (l *Lease) State(index int, hostname string) *LeaseState {
	if l.Time <= 0 {
		return nil
	}
	return &LeaseState{
		Device: l.Device, Index: index, MAC: l.MAC, Addr: l.Addr.Addr(), Server: l.ServerID,
		ClientID: l.ClientID, Hostname: hostname,
		Time: l.Time, T1: l.T1, T2: l.T2, Since: l.Since, DHCP6: l.DHCP6,
	}
}

// stateFields is how many words a Tenancy is as text.
const stateFields = 13

// String is the Tenancy as another process can read it: words in quotes.
func (s *LeaseState) String() string {
	server, duid, iaid := "", "", uint32(0)
	if s.Server.IsValid() {
		server = s.Server.String()
	}
	if s.DHCP6 != nil {
		duid, iaid = string(s.DHCP6.Server), s.DHCP6.IAID
	}
	words := []string{s.Device, strconv.Itoa(s.Index), s.MAC.String(), s.Addr.String(), server, s.ClientID, s.Hostname}
	for _, d := range []time.Duration{s.Time, s.T1, s.T2, s.Since} {
		words = append(words, strconv.FormatInt(int64(d), 10))
	}
	words = append(words, duid, strconv.FormatUint(uint64(iaid), 10))
	for i := range words {
		words[i] = strconv.Quote(words[i])
	}
	return strings.Join(words, " ")
}

// ParseLeaseState reads what Tenancy.String wrote.
func ParseLeaseState(s string) (*LeaseState, error) {
	var words []string
	for s != "" {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, errors.New("network: a lease's text is damaged")
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, errors.New("network: a lease's text is damaged")
		}
		words = append(words, word)
		s = strings.TrimPrefix(s[len(quoted):], " ")
	}
	if len(words) != stateFields {
		return nil, fmt.Errorf("network: a lease's text has %d words, want %d", len(words), stateFields)
	}
	t := &LeaseState{Device: words[0], ClientID: words[5], Hostname: words[6]}
	var errs []error
	number := func(word string) int64 {
		n, err := strconv.ParseInt(word, 10, 64)
		errs = append(errs, err)
		return n
	}
	addr := func(word string) netip.Addr {
		a, err := netip.ParseAddr(word)
		errs = append(errs, err)
		return a
	}
	var err error
	t.MAC, err = net.ParseMAC(words[2])
	errs = append(errs, err)
	t.Index, t.Addr = int(number(words[1])), addr(words[3])
	if words[4] != "" {
		t.Server = addr(words[4])
	}
	for i, d := range []*time.Duration{&t.Time, &t.T1, &t.T2, &t.Since} {
		*d = time.Duration(number(words[7+i]))
	}
	if iaid := uint32(number(words[12])); words[11] != "" {
		t.DHCP6 = &DHCP6Binding{Server: []byte(words[11]), IAID: iaid}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("network: a lease's text: %w", err)
	}
	if t.Time <= 0 {
		return nil, errors.New("network: a lease's text: it does not end")
	}
	return t, nil
}
