// Package plan makes of the parameters what package network is to do. Pure
// functions.
package plan

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
)

// DefaultDevice is the NIC that is tried first where no parameter names one.
const DefaultDevice = "eth0"

// Network makes of the parameters what package network is to do.
func Network(c *config.Config) network.Plan {
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
				p.Ignore = append(p.Ignore, ip.Device)
			}
			continue
		}
		p.Interfaces = addInterface(p.Interfaces, newInterface(c, ip))
	}
	if len(p.Interfaces) == 0 {
		ip := config.IP{Method: config.MethodDHCP}
		server := c.Root.Server
		// sidus.server= is behind the file, where the path is the file's too.
		if server == "" && (c.Root.Path != "" || c.FileRoot.Path == "" || c.FileRoot.Server == "") {
			server = c.BootServer.Host
		}
		// An IPv6 address as server and nothing else means an IPv6 network.
		if addr, err := netip.ParseAddr(server); err == nil && addr.Is6() {
			ip.Method = config.MethodAuto6
		}
		p.Interfaces = []network.Interface{newInterface(c, ip)}
	}
	for _, r := range c.Routes {
		p.Routes = append(p.Routes, network.DeviceRoute{Route: network.Route{Dst: r.Dst, Gateway: r.Gateway}, Device: r.Device})
	}
	p.DNS, p.OnlyDNS = c.DNS, c.OnlyDNS
	if c.BootDev != "" {
		p.Interfaces = chooseBootDev(p.Interfaces, c.BootDev)
	}
	return p
}

// Reaches tells whether a network of this plan can lead to a server: one that is named by
// an address needs an interface with an address of the same family.
func Reaches(p network.Plan, server string) bool {
	addr, err := netip.ParseAddr(server)
	return err != nil || slices.ContainsFunc(p.Interfaces, func(i network.Interface) bool { return i.Is6() == addr.Unmap().Is6() })
}

// addInterface adds an interface, instead of one for the same NIC and family:
// the last parameter wins, as in the kernel. pxelinux adds one (IPAPPEND) to
// whatever is there.
func addInterface(all []network.Interface, added network.Interface) []network.Interface {
	for i := range all {
		if all[i].Selector.String() == added.Selector.String() && all[i].Is6() == added.Is6() {
			all[i] = added
			return all
		}
	}
	return append(all, added)
}

// chooseBootDev makes all interfaces but one secondary. A device that no ip=
// names gets its address as the first of them says.
func chooseBootDev(all []network.Interface, device string) []network.Interface {
	named := false
	for i := range all {
		all[i].Secondary = all[i].Device != device
		named = named || !all[i].Secondary
	}
	if !named {
		all[0].Selector, all[0].Secondary = network.Selector{Device: device}, false
	}
	return all
}

// newInterface is what one ip= parameter asks for.
func newInterface(c *config.Config, ip config.IP) network.Interface {
	w := network.Interface{Selector: selector(c, ip), SetMAC: ip.MAC, ClientID: ip.ClientID, Hostname: ip.Hostname}
	if w.Hostname == "" && !strings.Contains(c.Hostname, "%") {
		w.Hostname = c.Hostname
	}
	switch ip.Method {
	case config.MethodStatic:
		w.Method = network.MethodStatic
		w.Static.Addr = netip.PrefixFrom(ip.Client, ip.Bits)
	case config.MethodAuto6:
		w.Method = network.MethodRouter
	case config.MethodDHCP6:
		w.Method = network.MethodDHCP6
	}
	if ip.Gateway.IsValid() {
		everywhere := netip.PrefixFrom(ip.Gateway, 0).Masked()
		w.Static.Routes = []network.Route{{Dst: everywhere, Gateway: ip.Gateway}}
	}
	w.Static.DNS = ip.DNS
	if ip.NTP.IsValid() {
		w.Static.NTP = []netip.Addr{ip.NTP}
	}
	w.Static.MTU = ip.MTU
	return w
}

// selector is the NIC that an ip= parameter means: its own device, else what is
// on top of bonds and VLANs, else the one of sidus.nic=, else any. Of any the one
// of BOOTIF= comes first, see network.Options.
func selector(c *config.Config, ip config.IP) network.Selector {
	switch {
	case ip.Device != "":
		return network.Selector{Device: ip.Device}
	case len(c.VLANs) > 0:
		return network.Selector{Device: c.VLANs[len(c.VLANs)-1].Name}
	case len(c.Bonds) > 0:
		return network.Selector{Device: c.Bonds[0].Name}
	case c.NIC.Name != "" || c.NIC.MAC != nil || c.NIC.Driver != "":
		return network.Selector{Device: c.NIC.Name, MAC: c.NIC.MAC, Driver: c.NIC.Driver}
	}
	return network.Selector{}
}

// Modules are those that the plan needs beside the drivers of NICs.
func Modules(p *network.Plan) []string {
	modules := []string{"af_packet"}
	if len(p.Bonds) > 0 {
		modules = append(modules, "bonding")
	}
	if len(p.VLANs) > 0 {
		modules = append(modules, "8021q")
	}
	return modules
}

// Hostname is the host name of the ip= parameters.
func Hostname(c *config.Config) string {
	for _, ip := range c.IPs {
		if ip.Hostname != "" {
			return ip.Hostname
		}
	}
	return ""
}
