package main

import (
	"net/netip"
	"strings"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
)

// defaultDevice is the NIC that is tried first where no word names one.
const defaultDevice = "eth0"

// networkPlan makes of the words what package network is to do.
func networkPlan(c *config.Config) network.Plan {
	var p network.Plan
	for _, r := range c.Renames {
		p.Renames = append(p.Renames, network.Rename{Name: r.Name, MAC: r.MAC})
	}
	for _, b := range c.Bonds {
		p.Bonds = append(p.Bonds, network.Bond{Name: b.Name, Slaves: b.Slaves, Options: b.Options, MTU: b.MTU})
	}
	for _, v := range c.VLANs {
		p.VLANs = append(p.VLANs, network.VLAN{Name: v.Name, Parent: v.Parent, ID: v.ID})
	}
	for _, ip := range c.IPs {
		if ip.Method == config.MethodOff {
			if ip.Device != "" {
				p.Leave = append(p.Leave, ip.Device)
			}
			continue
		}
		p.Ways = addWay(p.Ways, way(c, ip))
	}
	if len(p.Ways) == 0 {
		ip := config.IP{Method: config.MethodDHCP}
		// Who names an IPv6 server and nothing else means an IPv6 network.
		if addr, err := netip.ParseAddr(c.Root.Server); err == nil && addr.Is6() {
			ip.Method = config.MethodAuto6
		}
		p.Ways = []network.Way{way(c, ip)}
	}
	for _, r := range c.Routes {
		p.Routes = append(p.Routes, network.DeviceRoute{Route: network.Route{Dst: r.Dst, Gateway: r.Gateway}, Device: r.Device})
	}
	p.DNS, p.OnlyDNS = c.DNS, c.OnlyDNS
	if c.BootDev != "" {
		p.Ways = chooseBootDev(p.Ways, c.BootDev)
	}
	return p
}

// addWay adds a way, instead of one for the same NIC and family: the last word
// wins, as in the kernel. pxelinux adds one (IPAPPEND) to whatever is there.
func addWay(ways []network.Way, w network.Way) []network.Way {
	for i := range ways {
		if ways[i].Choice.String() == w.Choice.String() && ways[i].Is6() == w.Is6() {
			ways[i] = w
			return ways
		}
	}
	return append(ways, w)
}

// chooseBootDev sets all ways but one aside. A device that no ip= names gets
// its address as the first of them says.
func chooseBootDev(ways []network.Way, device string) []network.Way {
	named := false
	for i := range ways {
		ways[i].Aside = ways[i].Device != device
		named = named || !ways[i].Aside
	}
	if !named {
		ways[0].Choice, ways[0].Aside = network.Choice{Device: device}, false
	}
	return ways
}

func way(c *config.Config, ip config.IP) network.Way {
	w := network.Way{Choice: choice(c, ip), SetMAC: ip.MAC, ClientID: ip.ClientID, Hostname: ip.Hostname}
	if w.Hostname == "" && !strings.Contains(c.Hostname, "%") {
		w.Hostname = c.Hostname
	}
	switch ip.Method {
	case config.MethodStatic:
		w.Method = network.Fixed
		w.Fixed.Addr = netip.PrefixFrom(ip.Client, ip.Bits)
	case config.MethodAuto6:
		w.Method = network.ByRouter
	case config.MethodDHCP6:
		w.Method = network.ByDHCP6
	}
	if ip.Gateway.IsValid() {
		everywhere := netip.PrefixFrom(ip.Gateway, 0).Masked()
		w.Fixed.Routes = []network.Route{{Dst: everywhere, Gateway: ip.Gateway}}
	}
	w.Fixed.DNS = ip.DNS
	if ip.NTP.IsValid() {
		w.Fixed.NTP = []netip.Addr{ip.NTP}
	}
	w.Fixed.MTU = ip.MTU
	return w
}

// choice is the NIC that an ip= word means: its own device, else what is on top
// of bonds and VLANs, else the one of sidus.nic=, else any. Of any the one of
// BOOTIF= comes first, see network.Options.
func choice(c *config.Config, ip config.IP) network.Choice {
	switch {
	case ip.Device != "":
		return network.Choice{Device: ip.Device}
	case len(c.VLANs) > 0:
		return network.Choice{Device: c.VLANs[len(c.VLANs)-1].Name}
	case len(c.Bonds) > 0:
		return network.Choice{Device: c.Bonds[0].Name}
	case c.NIC.Name != "" || c.NIC.MAC != nil || c.NIC.Driver != "":
		return network.Choice{Device: c.NIC.Name, MAC: c.NIC.MAC, Driver: c.NIC.Driver}
	}
	return network.Choice{}
}
