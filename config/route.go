package config

import (
	"errors"
	"net/netip"
	"strings"
)

// A Route is one rd.route= parameter.
type Route struct {
	Dst netip.Prefix
	// Gateway is the zero Addr where Dst is on the link.
	Gateway netip.Addr
	// Device is empty where the route is for any NIC.
	Device string
}

// applyUseBootIF follows BOOTIF in the table.
func applyUseBootIF(c *Config, a arg) error {
	if isOff(a.value) {
		c.BootIF = nil
	}
	return nil
}

// isOff tells whether a value is one by which dracut switches something off.
func isOff(value string) bool {
	return value == "0" || value == "no" || value == "off"
}

// applyRoute reads dracut's NETWORK/MASK:GATEWAY[:DEVICE].
func applyRoute(c *Config, a arg) error {
	fields, err := splitFields(a.value)
	if err != nil {
		return err
	}
	if len(fields) < 2 || len(fields) > 3 {
		return errors.New("not a network, a gateway and perhaps a device")
	}
	network, mask, _ := strings.Cut(strings.Trim(fields[0], "[]"), "/")
	addr, err := netip.ParseAddr(network)
	if err != nil || addr.Zone() != "" {
		return errors.New("not a network such as 192.168.5.0/24")
	}
	bits := 0
	if mask != "0" {
		if bits, err = parseMask(mask, addr.BitLen()); err != nil {
			return err
		}
	}
	r := Route{Dst: netip.PrefixFrom(addr, bits).Masked()}
	if fields[1] != "" {
		if r.Gateway, err = parseAddr("gateway", fields[1]); err != nil {
			return err
		}
	}
	if len(fields) == 3 {
		r.Device = fields[2]
	}
	switch {
	case r.Gateway.IsValid() && r.Gateway.Is4() != addr.Is4():
		return errors.New("gateway and network must both be IPv4 or both IPv6")
	case r.Device != "":
		err = checkDevice(r.Device)
	case !r.Gateway.IsValid():
		return errors.New("neither a gateway nor a device")
	}
	c.Routes = append(c.Routes, r)
	return err
}

func applyNameserver(c *Config, a arg) error {
	addr, err := netip.ParseAddr(strings.Trim(a.value, "[]"))
	if err != nil || addr.IsUnspecified() || addr.Zone() != "" {
		return errors.New("not an address")
	}
	c.DNS = append(c.DNS, addr)
	return nil
}
