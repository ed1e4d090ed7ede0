package config

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/network/ipv4"
)

// parseAddr reads one address field. 0.0.0.0 means that none was given, as for the
// kernel: pxelinux writes it where there is no gateway.
func parseAddr(field, s string) (netip.Addr, error) {
	inner, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		inner = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || addr.Is4() == bracketed || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s %q is not an address such as 192.168.1.7 or [2001:db8::7]", field, s)
	}
	addr = addr.Unmap()
	if addr.IsUnspecified() {
		return netip.Addr{}, nil
	}
	if addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}, fmt.Errorf("%s %s is not the address of one host", field, s)
	}
	return addr, nil
}

// setMask fills in Bits from the field, or from the class of the client's
// address as ipconfig.c does.
func setMask(ip *IP, s string) (notes []string, err error) {
	width := 32
	if ip.Client.Is6() {
		width = 128
	}
	if s != "" {
		ip.Bits, err = parseMask(s, width)
		return nil, err
	}
	switch {
	case !ip.Client.IsValid():
		return nil, nil
	case width == 128:
		return nil, errors.New("an IPv6 address needs its prefix length in the fourth field, such as 64")
	}
	classBits, ok := ipv4.ClassBits(ip.Client)
	if !ok {
		return nil, fmt.Errorf("the class of the address %s has no netmask; write a netmask in the fourth field", ip.Client)
	}
	ip.Bits = classBits
	return []string{fmt.Sprintf("no netmask for %s: /%d is used, from the class of the address, as the kernel does", ip.Client, ip.Bits)}, nil
}

func parseMask(s string, width int) (int, error) {
	if n, err := strconv.Atoi(s); err == nil && isNumber(s) {
		if n < 1 || n > width {
			return 0, fmt.Errorf("prefix length %s is not from 1 to %d", s, width)
		}
		return n, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !addr.Is4() || width != 32 {
		return 0, fmt.Errorf("%q is not a netmask such as 255.255.255.0 or 24", s)
	}
	b := addr.As4()
	mask := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := bits.LeadingZeros32(^mask)
	if mask != ^uint32(0)<<(32-n) || n == 0 {
		return 0, fmt.Errorf("netmask %s is not valid: after a zero bit comes a one", s)
	}
	return n, nil
}

// check finds what is wrong with the fields together.
func (ip IP) check() (notes []string, err error) {
	if !ip.Client.IsValid() {
		return nil, nil
	}
	for _, other := range []struct {
		name string
		addr netip.Addr
	}{{"server", ip.Server}, {"gateway", ip.Gateway}} {
		if !other.addr.IsValid() {
			continue
		}
		if other.addr == ip.Client {
			return nil, fmt.Errorf("the %s is the client's own address %s", other.name, ip.Client)
		}
	}
	if ip.Gateway.IsValid() && ip.Gateway.Is4() != ip.Client.Is4() {
		return nil, fmt.Errorf("gateway %s and client %s must both be IPv4 or both IPv6", ip.Gateway, ip.Client)
	}
	if ip.Server.IsValid() && ip.Server.Is4() != ip.Client.Is4() {
		return nil, fmt.Errorf("server %s and client %s must both be IPv4 or both IPv6", ip.Server, ip.Client)
	}
	if ip.Client.IsLoopback() {
		return nil, fmt.Errorf("client %s is the loopback's address", ip.Client)
	}
	subnet := netip.PrefixFrom(ip.Client, ip.Bits).Masked()
	if ip.Client.Is4() && ip.Bits < 31 {
		if ip.Client == subnet.Addr() || ip.Client == ipv4.Broadcast(subnet) {
			return nil, fmt.Errorf("client %s is the first or last address of %s, which no host can have", ip.Client, subnet)
		}
	}
	if ip.Gateway.IsValid() && !subnet.Contains(ip.Gateway) && !ip.Gateway.IsLinkLocalUnicast() {
		notes = append(notes, fmt.Sprintf("gateway %s is outside of %s: it is assumed to be on the link", ip.Gateway, subnet))
	}
	return notes, nil
}

// parseBootIF reads pxelinux's and iPXE's 01-aa-bb-cc-dd-ee-ff, where 01 is
// Ethernet's hardware type, and a plain MAC address.
func parseBootIF(s string) (net.HardwareAddr, error) {
	s = strings.ReplaceAll(s, "-", ":")
	if rest, ok := strings.CutPrefix(s, "01:"); ok && isMAC(rest) {
		s = rest
	}
	if !isMAC(s) {
		return nil, errors.New("not a MAC address after 01-")
	}
	return net.ParseMAC(s)
}

// isMAC tells whether s is six octets with colons or hyphens between them.
func isMAC(s string) bool {
	hw, err := net.ParseMAC(s)
	return err == nil && len(hw) == 6 && len(s) == 17
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isGraphic tells whether s is printable ASCII without blanks.
func isGraphic(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// eachFamily makes several values of one that has several methods, such as
// eth0:dhcp,dhcp6: an address of each family is tried.
func eachFamily(value string) []string {
	fields := strings.Split(value, ":")
	for i, f := range fields {
		methods := strings.Split(f, ",")
		if len(methods) < 2 || slices.ContainsFunc(methods, func(m string) bool { return !slices.Contains(families, m) }) {
			continue
		}
		var all []string
		for _, m := range methods {
			fields[i] = m
			all = append(all, strings.Join(fields, ":"))
		}
		return all
	}
	return []string{value}
}

// families are the methods that may stand together.
var families = []string{"dhcp", "on", "any", "single-dhcp", "dhcp6", "auto6", "either6"}
