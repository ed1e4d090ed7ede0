package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// An IB is an InfiniBand device and the address that it is given, made of the
// node's Ethernet address: sidus.ib=.
type IB struct {
	Device string
	// Template is ADDRESS/BITS, with %1 to %4 for the four numbers of the
	// node's IPv4 address.
	Template string
}

// Address is the device's address on a node with the given IPv4 address.
func (ib IB) Address(node netip.Addr) (netip.Prefix, error) {
	if !node.Is4() {
		return netip.Prefix{}, fmt.Errorf("sidus.ib=%s:%s needs an IPv4 address and this node has %s", ib.Device, ib.Template, node)
	}
	var numbers []string
	for i, b := range node.As4() {
		numbers = append(numbers, fmt.Sprintf("%%%d", i+1), fmt.Sprint(b))
	}
	p, err := netip.ParsePrefix(strings.NewReplacer(numbers...).Replace(ib.Template))
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("sidus.ib=%s:%s on a node with %s: %w", ib.Device, ib.Template, node, err)
	}
	return p, nil
}

func applyIB(c *Config, a arg) error {
	device, template, ok := strings.Cut(a.value, ":")
	if !ok {
		return errors.New("no address after the colon")
	}
	if err := checkDevice(device); err != nil {
		return err
	}
	ib := IB{Device: device, Template: template}
	// Whatever the node's address is, the outcome has to be one.
	p, err := ib.Address(netip.AddrFrom4([4]byte{255, 255, 255, 255}))
	if err != nil || !p.Addr().Is4() || p.Bits() < 1 {
		return errors.New("not an IPv4 address with the length of its netmask")
	}
	c.IBs = append(c.IBs, ib)
	return nil
}
