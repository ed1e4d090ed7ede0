package network

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// nameByPlace gives cards that the plan calls by the name that udev would give
// them (enp1s0, ens3, eno1, enx525400123456) that name: people know it from
// installed machines, and write it into ip=, bond= and vlan=. There is no udev
// in an initramfs.
func (u *ascent) nameByPlace(all []netlink.Link) error {
	for _, name := range u.plan.cards() {
		if !strings.HasPrefix(name, "en") || find(all, func(a *netlink.LinkAttrs) bool { return a.Name == name }) != nil {
			continue
		}
		for _, l := range all {
			if !wired(l, u.opts.Sysfs) || l.Attrs().Flags&net.FlagUp != 0 || !slices.Contains(predictable(u.opts.Sysfs, l.Attrs()), name) {
				continue
			}
			if err := setName(l, name); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// cards are the names by which the plan calls network cards.
func (p *Plan) cards() (names []string) {
	for i := range p.Ways {
		names = append(names, p.Ways[i].Device)
	}
	for i := range p.Bonds {
		names = append(names, p.Bonds[i].Slaves...)
	}
	for i := range p.VLANs {
		names = append(names, p.VLANs[i].Parent)
	}
	return append(names, p.Leave...)
}

// predictable are the names that systemd's udev knows for an Ethernet card, by
// its place on PCI or USB, its slot, its number on the board and its MAC
// (systemd.net-naming-scheme(7)).
func predictable(sysfs string, a *netlink.LinkAttrs) (names []string) {
	if mac := permanent(a); len(mac) == 6 {
		names = append(names, fmt.Sprintf("enx%x", []byte(mac)))
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(sysfs, "class/net", a.Name, "device"))
	if err != nil {
		return names
	}
	// A virtio device, or a port of a USB device, is below the card on PCI.
	usb := ""
	for ; ; dir = filepath.Dir(dir) {
		base := filepath.Base(dir)
		if usb == "" {
			usb = usbPorts(base)
		}
		if _, ok := parsePCI(base); ok || base == "/" || base == "." {
			break
		}
	}
	place, ok := parsePCI(filepath.Base(dir))
	if !ok {
		return names
	}
	read := func(path string) string {
		b, _ := os.ReadFile(path)
		return strings.TrimSpace(string(b))
	}
	device := place.String()
	if place.function > 0 || hasFunctions(filepath.Join(dir, "config")) {
		device += fmt.Sprintf("f%d", place.function)
	}
	if usb != "" {
		return append(names, "en"+place.domainPrefix()+"p"+device+usb)
	}
	port := ""
	if s := read(filepath.Join(sysfs, "class/net", a.Name, "phys_port_name")); s != "" {
		port = "n" + s
	} else if s := read(filepath.Join(sysfs, "class/net", a.Name, "dev_port")); s != "" && s != "0" {
		port = "d" + s
	}
	names = append(names, "en"+place.domainPrefix()+"p"+device+port)
	for _, attribute := range []string{"acpi_index", "index"} {
		if s := read(filepath.Join(dir, attribute)); s != "" {
			names = append(names, "eno"+s+port)
			break
		}
	}
	slots, _ := filepath.Glob(filepath.Join(sysfs, "bus/pci/slots/*/address"))
	for _, slot := range slots {
		if address := read(slot); address != "" && strings.HasPrefix(filepath.Base(dir), address+".") {
			_, function, _ := strings.Cut(device, "f")
			if function != "" {
				function = "f" + function
			}
			names = append(names, "en"+place.domainPrefix()+"s"+filepath.Base(filepath.Dir(slot))+function+port)
		}
	}
	return names
}

// A pciPlace is where a card is on PCI: 0000:01:00.0.
type pciPlace struct{ domain, bus, slot, function uint64 }

func (p pciPlace) String() string { return fmt.Sprintf("%ds%d", p.bus, p.slot) }

func (p pciPlace) domainPrefix() string {
	if p.domain == 0 {
		return ""
	}
	return fmt.Sprintf("P%d", p.domain)
}

func parsePCI(s string) (p pciPlace, ok bool) {
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '.' })
	if len(fields) != 4 || len(s) < len("0000:00:00.0") {
		return p, false
	}
	for i, to := range []*uint64{&p.domain, &p.bus, &p.slot, &p.function} {
		n, err := strconv.ParseUint(fields[i], 16, 32)
		if err != nil {
			return p, false
		}
		*to = n
	}
	return p, true
}

// hasFunctions tells whether a PCI device has more functions than one: the top
// bit of the header type, at 14 of its configuration space.
func hasFunctions(config string) bool {
	b, err := os.ReadFile(config)
	return err == nil && len(b) > 14 && b[14]&0x80 != 0
}

// usbPorts is the end of a name for an interface of a USB device, such as u1u2
// for 3-1.2:1.0; empty for what is none. The first configuration and the first
// interface are not named.
func usbPorts(s string) string {
	device, function, ok := strings.Cut(s, ":")
	bus, ports, dashed := strings.Cut(device, "-")
	configuration, number, dotted := strings.Cut(function, ".")
	if !ok || !dashed || !dotted || bus == "" || strings.Trim(bus+strings.ReplaceAll(ports, ".", "")+configuration+number, "0123456789") != "" {
		return ""
	}
	text := "u" + strings.ReplaceAll(ports, ".", "u")
	if configuration != "1" {
		text += "c" + configuration
	}
	if number != "0" {
		text += "i" + number
	}
	return text
}
