// Package ipv4 computes what IPv4 addresses have by their numbers. Pure
// functions.
package ipv4

import (
	"encoding/binary"
	"net/netip"
)

// ClassBits is the length of the netmask by the class of an address, as the
// kernel takes it where none is given (net/ipv4/ipconfig.c). ok is false for an
// address that belongs to no class with a netmask.
func ClassBits(addr netip.Addr) (bits int, ok bool) {
	switch first := addr.As4()[0]; {
	case first < 128:
		return 8, true
	case first < 192:
		return 16, true
	case first < 224:
		return 24, true
	}
	return 0, false
}

// Broadcast is the last address of a network.
func Broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	number := binary.BigEndian.Uint32(b[:]) | uint32(1<<(32-p.Bits())-1)
	binary.BigEndian.PutUint32(b[:], number)
	return netip.AddrFrom4(b)
}
