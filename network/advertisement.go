package network

import (
	"encoding/binary"
	"net/netip"

	"github.com/insomniacslk/dhcp/rfc1035label"
)

// An advertisement is what a router says of the link.
type advertisement struct {
	router netip.Addr
	// managed: addresses are to be had by DHCPv6; other: other facts are.
	managed, other bool
	// isDefault: the router is one for everywhere.
	isDefault bool
	prefixes  []netip.Prefix // on the link
	dns       []netip.Addr
	search    []string
}

// Of router advertisements (RFC 4861, section 4.2; RFC 8106).
const (
	typeSolicitation  = 133
	typeAdvertisement = 134
	advertisementLen  = 16
	optionPrefix      = 3
	optionRDNSS       = 25
	optionDNSSL       = 31
)

func parseAdvertisement(b []byte) (a advertisement, ok bool) {
	if len(b) < advertisementLen || b[0] != typeAdvertisement || b[1] != 0 {
		return a, false
	}
	a.managed, a.other = b[5]&0x80 != 0, b[5]&0x40 != 0
	a.isDefault = binary.BigEndian.Uint16(b[6:]) != 0
	for b = b[advertisementLen:]; len(b) > 0; {
		if len(b) < 8 {
			return a, false // All options are of whole eights of bytes.
		}
		size := int(b[1]) * 8
		if size == 0 || size > len(b) {
			return a, false
		}
		o := b[:size]
		b = b[size:]
		switch o[0] {
		case optionPrefix:
			if size != 32 || o[3]&0x80 == 0 || o[2] > 128 {
				continue // Not on the link.
			}
			a.prefixes = append(a.prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:32])), int(o[2])))
		case optionRDNSS:
			a.dns = append(a.dns, addrList6(o[8:])...)
		case optionDNSSL:
			a.search = append(a.search, domainNames(o[8:])...)
		}
	}
	return a, true
}

// addrList6 are the addresses in a list of them.
func addrList6(b []byte) (all []netip.Addr) {
	for ; len(b) >= 16; b = b[16:] {
		if a := netip.AddrFrom16([16]byte(b[:16])); !a.IsUnspecified() && !a.IsMulticast() {
			all = append(all, a)
		}
	}
	return all
}

// domainNames are the names in a list as of RFC 1035, section 3.1. A list
// over which the library panics is an empty one.
func domainNames(b []byte) (all []string) {
	defer func() {
		if recover() != nil {
			all = nil
		}
	}()
	names, err := rfc1035label.FromBytes(b)
	if err != nil {
		return nil
	}
	for _, label := range names.Labels {
		if label = cleanName(label); label != "" {
			all = append(all, label)
		}
	}
	return all
}
