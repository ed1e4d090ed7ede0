// Package dhcp6 encodes and decodes messages of DHCPv6 (RFC 8415), as far as a
// node needs them: one address, name servers, a boot file. The library's
// package dhcpv6 would make /init 150 kB larger, of which a node needs a tenth.
package dhcp6

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Kinds of messages (RFC 8415, section 7.3).
const (
	Solicit            = 1
	Advertise          = 2
	Request            = 3
	Renew              = 5
	Rebind             = 6
	Reply              = 7
	Decline            = 9
	InformationRequest = 11
)

// Options (RFC 8415, section 21; RFC 3646; RFC 5970).
const (
	OptClientID      = 1
	OptServerID      = 2
	OptIANA          = 3
	OptIAAddr        = 5
	OptOptionRequest = 6
	OptElapsedTime   = 8
	OptStatus        = 13
	OptDNS           = 23
	OptSearch        = 24
	OptBootURL       = 59
)

// Status codes (RFC 8415, section 21.13). StatusNoBinding is what a server
// answers to the renewal of a lease that it does not know.
const (
	StatusSuccess   = 0
	StatusNoBinding = 3
)

// ErrMalformed says that a packet is not a DHCPv6 message.
var ErrMalformed = errors.New("not a DHCPv6 message")

// A Message is a DHCPv6 message between a client and a server.
type Message struct {
	Kind    byte
	XID     [3]byte
	Options []Option
}

// An Option is a code and a value.
type Option struct {
	Code  uint16
	Value []byte
}

// Add appends an option.
func (m *Message) Add(code uint16, value []byte) {
	m.Options = append(m.Options, Option{code, value})
}

// Get is the value of the first option with a code, or nil.
func (m *Message) Get(code uint16) []byte {
	for _, o := range m.Options {
		if o.Code == code {
			return o.Value
		}
	}
	return nil
}

// Encode is the message as it is sent.
func (m *Message) Encode() []byte {
	b := append([]byte{m.Kind}, m.XID[:]...)
	for _, o := range m.Options {
		b = binary.BigEndian.AppendUint16(b, o.Code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(o.Value)))
		b = append(b, o.Value...)
	}
	return b
}

// Parse reads a message. The error is ErrMalformed.
func Parse(b []byte) (*Message, error) {
	if len(b) < 4 {
		return nil, ErrMalformed
	}
	options, err := parseOptions(b[4:])
	if err != nil {
		return nil, err
	}
	return &Message{Kind: b[0], XID: [3]byte(b[1:4]), Options: options}, nil
}

func parseOptions(b []byte) (all []Option, err error) {
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, ErrMalformed
		}
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b)-4 {
			return nil, ErrMalformed
		}
		all = append(all, Option{binary.BigEndian.Uint16(b), slices.Clone(b[4 : 4+size])})
		b = b[4+size:]
	}
	return all, nil
}

// IANA is the value of OptIANA for an identity association, with an address
// that is asked for, or without one where addr is the zero Addr.
func IANA(iaid uint32, addr netip.Addr) []byte {
	b := binary.BigEndian.AppendUint32(nil, iaid)
	b = append(b, make([]byte, 8)...) // The server sets T1 and T2.
	if !addr.IsValid() {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, OptIAAddr)
	b = binary.BigEndian.AppendUint16(b, 24)
	ip := addr.As16()
	b = append(b, ip[:]...)
	return append(b, make([]byte, 8)...)
}

// An Answer is what an ADVERTISE or a REPLY says. Texts are as the server sent
// them.
type Answer struct {
	// Addr is the zero Addr where the message has no address that can be used.
	Addr          netip.Addr
	T1, T2, Valid time.Duration
	Status        uint16
	StatusText    string
	// Server is the server's DUID.
	Server []byte
	// DNS is a list of addresses, Search one of names as of RFC 1035, section
	// 3.1: the formats that router advertisements use too.
	DNS, Search []byte
	BootURL     string
}

// Answer reads what a message says about the identity association iaid.
func (m *Message) Answer(iaid uint32) *Answer {
	a := &Answer{
		Server: m.Get(OptServerID), DNS: m.Get(OptDNS), Search: m.Get(OptSearch),
		BootURL: string(m.Get(OptBootURL)),
	}
	a.setStatus(m.Get(OptStatus))
	for _, o := range m.Options {
		if o.Code != OptIANA || len(o.Value) < 12 || binary.BigEndian.Uint32(o.Value) != iaid {
			continue
		}
		a.T1, a.T2 = seconds(o.Value[4:]), seconds(o.Value[8:])
		inner, err := parseOptions(o.Value[12:])
		if err != nil {
			continue
		}
		for _, i := range inner {
			switch {
			case i.Code == OptStatus:
				a.setStatus(i.Value)
			case i.Code == OptIAAddr && len(i.Value) >= 24 && !a.Addr.IsValid():
				// An address with a lifetime of zero is one that is taken away.
				addr, valid := netip.AddrFrom16([16]byte(i.Value[:16])), seconds(i.Value[20:])
				if valid > 0 && addr.IsGlobalUnicast() && !addr.Is4In6() {
					a.Addr, a.Valid = addr, valid
				}
			}
		}
	}
	return a
}

// setStatus keeps the first status that is not success.
func (a *Answer) setStatus(value []byte) {
	if len(value) < 2 || a.Status != StatusSuccess {
		return
	}
	a.Status = binary.BigEndian.Uint16(value)
	a.StatusText = string(value[2:])
}

func seconds(b []byte) time.Duration { return time.Duration(binary.BigEndian.Uint32(b)) * time.Second }
