package network

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// DHCPv6 (RFC 8415) as far as a node needs it: one address, name servers, a
// boot file. It is written out here because the library's dhcpv6 would make
// /init 150 kB larger, of which this needs a tenth.

// Message types (RFC 8415, section 7.3).
const (
	solicit6     = 1
	advertise6   = 2
	request6     = 3
	renew6       = 5
	rebind6      = 6
	reply6       = 7
	release6     = 8
	decline6     = 9
	information6 = 11
)

// Options (RFC 8415, section 21; RFC 3646; RFC 5970).
const (
	optClientID6 = 1
	optServerID6 = 2
	optIANA6     = 3
	optIAAddr6   = 5
	optORO6      = 6
	optElapsed6  = 8
	optStatus6   = 13
	optDNS6      = 23
	optSearch6   = 24
	optBootURL6  = 59
)

// A Binding6 is a lease of an IPv6 address as its server knows it. Lease.Time,
// T1 and T2 say how long it lasts.
type Binding6 struct {
	Server []byte // The server's DUID.
	IAID   uint32
}

// A message6 is a DHCPv6 message.
type message6 struct {
	kind    byte
	xid     [3]byte
	options []option6
}

type option6 struct {
	code  uint16
	value []byte
}

func (m *message6) add(code uint16, value []byte) {
	m.options = append(m.options, option6{code, value})
}

func (m *message6) get(code uint16) []byte {
	for _, o := range m.options {
		if o.code == code {
			return o.value
		}
	}
	return nil
}

func (m *message6) encode() []byte {
	b := append([]byte{m.kind}, m.xid[:]...)
	for _, o := range m.options {
		b = binary.BigEndian.AppendUint16(b, o.code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(o.value)))
		b = append(b, o.value...)
	}
	return b
}

func parse6(b []byte) (m message6, ok bool) {
	if len(b) < 4 {
		return m, false
	}
	m.kind, m.xid = b[0], [3]byte(b[1:4])
	m.options, ok = options6(b[4:])
	return m, ok
}

func options6(b []byte) (all []option6, ok bool) {
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, false
		}
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b)-4 {
			return nil, false
		}
		all = append(all, option6{binary.BigEndian.Uint16(b), slices.Clone(b[4 : 4+size])})
		b = b[4+size:]
	}
	return all, true
}

// A binding is what a message says of an address.
type binding struct {
	addr          netip.Addr
	t1, t2, valid time.Duration
	status        uint16
	statusText    string
	server        []byte
	dns           []netip.Addr
	search        []string
	bootURL       string
}

// bindingOf reads an ADVERTISE or a REPLY.
func bindingOf(m *message6, iaid uint32) (b binding) {
	b.server = m.get(optServerID6)
	b.dns = addrs6(m.get(optDNS6))
	b.search = labels(m.get(optSearch6))
	b.bootURL = text(string(m.get(optBootURL6)))
	b.setStatus(m.get(optStatus6))
	for _, o := range m.options {
		if o.code != optIANA6 || len(o.value) < 12 || binary.BigEndian.Uint32(o.value) != iaid {
			continue
		}
		b.t1, b.t2 = seconds6(o.value[4:]), seconds6(o.value[8:])
		inner, ok := options6(o.value[12:])
		if !ok {
			continue
		}
		for _, i := range inner {
			switch {
			case i.code == optStatus6:
				b.setStatus(i.value)
			case i.code == optIAAddr6 && len(i.value) >= 24 && !b.addr.IsValid():
				addr, valid := netip.AddrFrom16([16]byte(i.value[:16])), seconds6(i.value[20:])
				if valid > 0 && addr.IsGlobalUnicast() && !addr.Is4In6() {
					b.addr, b.valid = addr, valid
				}
			}
		}
	}
	return b
}

func (b *binding) setStatus(value []byte) {
	if len(value) < 2 || b.status != statusOK {
		return
	}
	b.status = binary.BigEndian.Uint16(value)
	b.statusText = text(string(value[2:]))
}

// times are the lease's length and when to renew and rebind it.
func (b *binding) times() (lease, t1, t2 time.Duration) {
	if b.valid >= forever {
		return 0, 0, 0
	}
	lease, t1, t2 = b.valid, b.t1, b.t2
	// Zero leaves it to the client (RFC 8415, section 21.4).
	if t2 <= 0 || t2 >= lease {
		t2 = lease / 8 * 7
	}
	if t1 <= 0 || t1 >= t2 {
		t1 = min(lease/2, t2/8*7)
	}
	return lease, t1, t2
}

func seconds6(b []byte) time.Duration { return time.Duration(binary.BigEndian.Uint32(b)) * time.Second }
