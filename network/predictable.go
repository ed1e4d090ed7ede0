package network

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// nameByPlace gives cards that the plan calls by the name that udev would give
// them (enp1s0, ens3, eno1, enx525400123456) that name: operators know it from
// installed machines and write it into parameters. There is no udev in an
// initramfs.
func (a *attempt) nameByPlace(all []*rtnetlink.Link) error {
	for _, name := range a.plan.cardNames() {
		if !strings.HasPrefix(name, "en") || findLink(all, func(a *rtnetlink.Link) bool { return a.Name == name }) != nil {
			continue
		}
		for _, l := range all {
			if !isWired(l, a.opts.Sysfs) || l.IsUp() || !slices.Contains(predictable(a.opts.Sysfs, l), name) {
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

// cardNames are the names by which the plan calls network cards.
func (p *Plan) cardNames() (names []string) {
	for i := range p.Interfaces {
		names = append(names, p.Interfaces[i].Device)
	}
	for i := range p.Bonds {
		names = append(names, p.Bonds[i].Slaves...)
	}
	for i := range p.VLANs {
		names = append(names, p.VLANs[i].Parent)
	}
	return append(names, p.Ignore...)
}

// predictable are the names that systemd's udev knows for an Ethernet card, by
// its place on PCI or USB, its slot, its number on the board and its MAC
// (systemd.net-naming-scheme(7)).
func predictable(sysfs string, a *rtnetlink.Link) []string {
	names := []string{"enx" + strings.ReplaceAll(permanentAddr(a).String(), ":", "")}
	card := filepath.Join(sysfs, "class/net", a.Name)
	dir, err := filepath.EvalSymlinks(filepath.Join(card, "device"))
	if err != nil {
		return names
	}
	// A virtio device, or a port of a USB device, is below the card on PCI.
	usb := ""
	for ; parsePCI(filepath.Base(dir)) == nil; dir = filepath.Dir(dir) {
		if len(dir) < 2 {
			return names
		}
		if usb == "" {
			usb = usbPorts(filepath.Base(dir))
		}
	}
	place := parsePCI(filepath.Base(dir))
	prefix, function := "en", ""
	if place[0] != "0" {
		prefix += "P" + place[0]
	}
	if place[3] != "0" || hasFunctions(filepath.Join(dir, "config")) {
		function = "f" + place[3]
	}
	path := prefix + "p" + place[1] + "s" + place[2] + function
	if usb != "" {
		return append(names, path+usb)
	}
	port := ""
	if s := readLine(card, "phys_port_name"); s != "" {
		port = "n" + s
	} else if s := readLine(card, "dev_port"); s != "" && s != "0" {
		port = "d" + s
	}
	names = append(names, path+port)
	board := readLine(dir, "acpi_index")
	if board == "" {
		board = readLine(dir, "index")
	}
	if board != "" {
		names = append(names, "eno"+board+port)
	}
	slots, _ := filepath.Glob(filepath.Join(sysfs, "bus/pci/slots/*"))
	for _, slot := range slots {
		if address := readLine(slot, "address"); address != "" && strings.HasPrefix(filepath.Base(dir), address+".") {
			names = append(names, prefix+"s"+filepath.Base(slot)+function+port)
		}
	}
	return names
}

// readLine reads an attribute of sysfs; what is not there is empty.
func readLine(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}

// parsePCI reads where a card is on PCI, 0000:01:00.0: domain, bus, slot and
// function, as decimal numbers. It is nil for another name.
func parsePCI(s string) (place []string) {
	if len(s) < len("0000:00:00.0") || s[len(s)-2] != '.' {
		return nil
	}
	for _, hex := range strings.Split(strings.Replace(s, ".", ":", 1), ":") {
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			return nil
		}
		place = append(place, strconv.FormatUint(n, 10))
	}
	if len(place) != 4 {
		return nil
	}
	return place
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
