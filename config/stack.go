package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// A VLAN is a device for one VLAN of another device, vlan=.
type VLAN struct {
	Name, Parent string
	// ID is from 1 to 4094.
	ID int
}

// A Bond is several NICs that are one, bond=. Options are the kernel's, each
// NAME=VALUE.
type Bond struct {
	Name    string
	Slaves  []string
	Options []string
	// MTU is 0 where none was given.
	MTU int
}

// A Rename gives the NIC with a MAC a name, ifname=.
type Rename struct {
	Name string
	MAC  net.HardwareAddr
}

// A NIC chooses a network card by one of its fields, sidus.nic=. With none it
// chooses nothing.
type NIC struct {
	Name, Driver string
	MAC          net.HardwareAddr
}

// applyVLAN reads dracut's NAME:PARENT. The number is at the end of the name,
// in each of the kernel's four styles: vlan5, vlan0005, eth0.5, eth0.0005.
func applyVLAN(c *Config, a arg) error {
	name, parent, ok := strings.Cut(a.value, ":")
	if !ok {
		return errors.New("no device after the colon")
	}
	for _, device := range []string{name, parent} {
		if err := checkDevice(device); err != nil {
			return err
		}
	}
	digits := len(name) - len(strings.TrimRight(name, "0123456789"))
	id, err := strconv.Atoi(name[len(name)-digits:])
	if err != nil || id < 1 || id > 4094 {
		return fmt.Errorf("%q does not end in the number of a VLAN, 1 to 4094", name)
	}
	if name == parent {
		return fmt.Errorf("%s would be a VLAN of itself", name)
	}
	if slices.ContainsFunc(c.VLANs, func(v VLAN) bool { return v.Name == name }) {
		return fmt.Errorf("%s is given twice", name)
	}
	c.VLANs = append(c.VLANs, VLAN{Name: name, Parent: parent, ID: id})
	return nil
}

// applyBond reads dracut's NAME[:SLAVE,...[:OPTION,...[:MTU]]].
func applyBond(c *Config, a arg) error {
	fields := strings.Split(a.value, ":")
	if len(fields) > 4 {
		return errors.New("too many fields; the fourth, the MTU, is the last")
	}
	b := Bond{Name: "bond0", Slaves: []string{"eth0", "eth1"}, Options: []string{"mode=balance-rr"}}
	if fields[0] != "" {
		b.Name = fields[0]
	}
	if len(fields) > 1 && fields[1] != "" {
		b.Slaves = strings.Split(fields[1], ",")
	}
	if len(fields) > 2 && fields[2] != "" {
		b.Options = strings.Split(fields[2], ",")
	}
	for _, device := range append([]string{b.Name}, b.Slaves...) {
		if err := checkDevice(device); err != nil {
			return err
		}
	}
	for i, o := range b.Options {
		name, value, ok := strings.Cut(o, "=")
		if !ok || value == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" || name == "" || name == "slaves" || !isGraphic(value) {
			return fmt.Errorf("%q is not an option of the kernel's bonding driver, such as mode=802.3ad", o)
		}
		if slices.ContainsFunc(b.Options[:i], func(other string) bool { return strings.HasPrefix(other, name+"=") }) {
			return fmt.Errorf("the option %s is given twice", name)
		}
	}
	if len(fields) > 3 && fields[3] != "" {
		mtu, err := parseMTU(fields[3])
		if err != nil {
			return err
		}
		b.MTU = mtu
	}
	for _, other := range c.Bonds {
		if other.Name == b.Name {
			return fmt.Errorf("%s is given twice", b.Name)
		}
		for _, s := range b.Slaves {
			if slices.Contains(other.Slaves, s) {
				return fmt.Errorf("%s is already in %s", s, other.Name)
			}
		}
	}
	if slices.Contains(b.Slaves, b.Name) {
		return fmt.Errorf("%s would be a member of itself", b.Name)
	}
	c.Bonds = append(c.Bonds, b)
	return nil
}

// applyIfname reads dracut's NAME:MAC.
func applyIfname(c *Config, a arg) error {
	name, mac, _ := strings.Cut(a.value, ":")
	if err := checkDevice(name); err != nil {
		return err
	}
	if !isMAC(mac) {
		return fmt.Errorf("%q is not a MAC address such as 52:54:00:12:34:56", mac)
	}
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	for _, r := range c.Renames {
		if r.Name == name || r.MAC.String() == hw.String() {
			return fmt.Errorf("%s (%s) is already given", r.Name, r.MAC)
		}
	}
	c.Renames = append(c.Renames, Rename{Name: name, MAC: hw})
	return nil
}

func applyBootDev(c *Config, a arg) error {
	if strings.EqualFold(a.value, "BOOTIF") {
		return nil // That NIC is tried first in any case.
	}
	c.BootDev = a.value
	return checkDevice(a.value)
}

// applyNIC reads NAME, MAC or driver=NAME.
func applyNIC(c *Config, a arg) error {
	if driver, ok := strings.CutPrefix(a.value, "driver="); ok {
		if !isIdentifier(canonical(driver)) {
			return fmt.Errorf("%q is not the name of a driver", driver)
		}
		c.NIC = NIC{Driver: driver}
		return nil
	}
	if isMAC(a.value) {
		mac, err := net.ParseMAC(a.value)
		c.NIC = NIC{MAC: mac}
		return err
	}
	if len(a.value) == 12 && strings.Trim(strings.ToLower(a.value), "0123456789abcdef") == "" {
		return fmt.Errorf("%q is not a device name; a MAC has colons or dashes", a.value)
	}
	c.NIC = NIC{Name: a.value}
	return checkDevice(a.value)
}

func applyDAD(c *Config, a arg) error {
	if a.value != "0" && a.value != "1" {
		return errUnknown
	}
	c.TrustAddress = a.value == "0"
	return nil
}

// checkDevice takes what the kernel takes for a device's name (dev_valid_name)
// and can be written in these parameters.
func checkDevice(name string) error {
	if name == "" || len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/:, \t\n\v\f\r\x00") || !isGraphic(name) {
		return fmt.Errorf("%q is not a device name such as eth0", name)
	}
	return nil
}

func parseMTU(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 68 || n > 65535 {
		return 0, fmt.Errorf("%q is not an MTU: a number from 68 to 65535", s)
	}
	return n, nil
}
