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

// A LeaseState is what it takes to renew a lease, in this process or in another
// one.
type LeaseState struct {
	Device string
	Index  int
	MAC    net.HardwareAddr
	Addr   netip.Addr
	// Server gave the lease, where it is one of IPv4.
	Server             netip.Addr
	ClientID, Hostname string
	// Time is the lease's length, T1 and T2 are when to renew and to rebind it,
	// all from Since on, which is on the clock of clock.Uptime.
	Time, T1, T2 time.Duration
	Since        time.Duration
	// DHCP6 is set for a lease of DHCPv6.
	DHCP6 *DHCP6Binding
	// OnRenewal, which may be nil, is called when Time, T1, T2 and Since have
	// changed.
	OnRenewal func()
}

// State is what it takes to renew the lease; nil where the lease does not end.
// index is the device's.
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

// stateFields is the number of fields in the text of a LeaseState.
const stateFields = 13

// String is the LeaseState as another process can read it: quoted fields.
func (s *LeaseState) String() string {
	server, duid, iaid := "", "", uint32(0)
	if s.Server.IsValid() {
		server = s.Server.String()
	}
	if s.DHCP6 != nil {
		duid, iaid = string(s.DHCP6.Server), s.DHCP6.IAID
	}
	fields := []string{s.Device, strconv.Itoa(s.Index), s.MAC.String(), s.Addr.String(), server, s.ClientID, s.Hostname}
	for _, d := range []time.Duration{s.Time, s.T1, s.T2, s.Since} {
		fields = append(fields, strconv.FormatInt(int64(d), 10))
	}
	fields = append(fields, duid, strconv.FormatUint(uint64(iaid), 10))
	for i := range fields {
		fields[i] = strconv.Quote(fields[i])
	}
	return strings.Join(fields, " ")
}

// ParseLeaseState reads what LeaseState.String wrote.
func ParseLeaseState(s string) (*LeaseState, error) {
	var fields []string
	for s != "" {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, errors.New("network: a lease's text is damaged")
		}
		field, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, errors.New("network: a lease's text is damaged")
		}
		fields = append(fields, field)
		s = strings.TrimPrefix(s[len(quoted):], " ")
	}
	if len(fields) != stateFields {
		return nil, fmt.Errorf("network: a lease's text has %d fields, want %d", len(fields), stateFields)
	}
	t := &LeaseState{Device: fields[0], ClientID: fields[5], Hostname: fields[6]}
	var errs []error
	number := func(field string) int64 {
		n, err := strconv.ParseInt(field, 10, 64)
		errs = append(errs, err)
		return n
	}
	addr := func(field string) netip.Addr {
		a, err := netip.ParseAddr(field)
		errs = append(errs, err)
		return a
	}
	var err error
	t.MAC, err = net.ParseMAC(fields[2])
	errs = append(errs, err)
	t.Index, t.Addr = int(number(fields[1])), addr(fields[3])
	if fields[4] != "" {
		t.Server = addr(fields[4])
	}
	for i, d := range []*time.Duration{&t.Time, &t.T1, &t.T2, &t.Since} {
		*d = time.Duration(number(fields[7+i]))
	}
	if iaid := uint32(number(fields[12])); fields[11] != "" {
		t.DHCP6 = &DHCP6Binding{Server: []byte(fields[11]), IAID: iaid}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("network: a lease's text: %w", err)
	}
	if t.Time <= 0 {
		return nil, errors.New("network: a lease's text: it does not end")
	}
	return t, nil
}
