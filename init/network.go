package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
)

// defaultDevice is the NIC used when no word names another.
const defaultDevice = "eth0"

// usbControllers are not loaded unless no NIC turns up without them: every
// machine has some, few need them to boot, and udev loads them later.
var usbControllers = map[string]bool{
	"xhci_pci": true, "xhci_hcd": true, "ehci_pci": true, "ehci_hcd": true,
	"ohci_pci": true, "ohci_hcd": true, "uhci_hcd": true,
}

// bringNetworkUp loads the NICs' drivers and gets an address on one NIC. While
// it waits for the network, the modules for NFS and the union are loaded.
func (n *node) bringNetworkUp() (string, error) {
	if err := n.system.Load("af_packet"); err != nil {
		return "", err
	}
	drivers, err := n.system.loader.LoadDevices("/sys", usbControllers)
	if err != nil {
		// The NIC may be another driver's: go on and see.
		n.log.errorf("drivers: %v", err)
	}
	if n.union == nil {
		n.loadUnion(n.firstVersion())
	}
	ip := n.cfg.ChosenIP()
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout)
	defer cancel()
	choice := network.Choice{Device: ip.Device, MAC: n.cfg.BootIF}
	if ip.Device != "" {
		choice.MAC = nil
	} else {
		choice.Device = defaultDevice
	}
	n.waitFor("the NIC " + choice.String())
	link, err := network.Find(ctx, choice, "/sys", func() { _, _ = n.system.loader.LoadDevices("/sys", nil) })
	if err != nil {
		return "", err
	}
	if err := network.LoopbackUp(); err != nil {
		return "", err
	}
	n.waitFor("the link of " + link.Attrs().Name)
	if err := network.BringUp(ctx, link); err != nil {
		return "", err
	}
	lease, err := n.getLease(link, ip)
	if err != nil {
		return "", err
	}
	if err := network.Apply(link, lease, n.log.errorf); err != nil {
		return "", err
	}
	n.lease = lease
	if err := n.nameNode(ip.Hostname); err != nil {
		return "", err
	}
	n.reportNetwork(link)
	detail := fmt.Sprintf("%s (%s) has %s by %s", lease.Device, lease.MAC, lease.Addr, lease.Proto)
	if gw := lease.Gateway(); gw.IsValid() {
		detail += ", gateway " + gw.String()
	}
	if len(drivers) > 0 {
		detail += ", drivers " + strings.Join(drivers, " ")
	}
	return detail, nil
}

// firstVersion is the NFS version that will be tried first, or empty where the
// lease may still decide.
func (n *node) firstVersion() string {
	if n.cfg.Root.Path == "" {
		return ""
	}
	versions, err := nfs.Source{Version: n.cfg.Root.Version}.Versions()
	if err != nil {
		return ""
	}
	return versions[0]
}

func (n *node) getLease(link netlink.Link, ip config.IP) (*network.Lease, error) {
	if ip.Client.Is6() {
		return nil, errors.New("ip=: this version cannot boot by an IPv6 address: give an IPv4 address, or ip=dhcp")
	}
	if ip.Method == config.MethodStatic {
		return staticLease(link, ip), nil
	}
	n.waitFor("random bytes for DHCP (a virtual machine wants a virtio-rng)")
	err := <-n.random
	n.random <- err // For the next attempt.
	if err != nil {
		return nil, err
	}
	n.waitFor("an answer from DHCP on " + link.Attrs().Name)
	// The server gets its full time from the moment that the link is up.
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout)
	defer cancel()
	lease, err := network.DHCP(ctx, link)
	if err != nil {
		return nil, err
	}
	override(lease, ip)
	return lease, nil
}

// staticLease is the lease that ip= spells out.
func staticLease(link netlink.Link, ip config.IP) *network.Lease {
	l := &network.Lease{
		Device: link.Attrs().Name, MAC: link.Attrs().HardwareAddr, Proto: "none",
		Addr: netip.PrefixFrom(ip.Client, ip.Bits),
	}
	override(l, ip)
	return l
}

// override lets the fields of ip= win over those of the lease, as the kernel
// does (net/ipv4/ipconfig.c).
func override(l *network.Lease, ip config.IP) {
	if ip.Gateway.IsValid() {
		everywhere := netip.PrefixFrom(ip.Gateway, 0).Masked()
		l.Routes = []network.Route{{Dst: everywhere, Gateway: ip.Gateway}}
	}
	if len(ip.DNS) > 0 {
		l.DNS = ip.DNS
	}
	if ip.NTP.IsValid() {
		l.NTP = []netip.Addr{ip.NTP}
	}
	if ip.MTU > 0 {
		l.MTU = ip.MTU
	}
}

// nameNode sets the host name: from sidus.hostname=, else from ip=, else from
// the lease. With none of them the tree's own name stays.
func (n *node) nameNode(given string) error {
	name := n.lease.Hostname
	if given != "" {
		name = given
	}
	n.lease.Hostname = name
	if n.cfg.Hostname != "" {
		expanded, err := config.Expand(n.cfg.Hostname, n.leaseFacts())
		if err != nil {
			return fmt.Errorf("sidus.hostname=: %w", err)
		}
		name = expanded
	}
	if name != "" && !validHostname(name) {
		n.log.errorf("the host name %q is none (letters, digits, - and . only): the tree's name stays", name)
		name = ""
	}
	n.lease.Hostname = name
	if name == "" {
		return nil
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set the host name to %s: %w", name, err)
	}
	return nil
}

// validHostname keeps a server from writing what it likes into /etc/hostname
// (RFC 1123, section 2.1; the kernel's limit is 64).
func validHostname(s string) bool {
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
		if !ok {
			return false
		}
	}
	return s != "" && len(s) <= 64 && s[0] != '-' && s[0] != '.'
}

// leaseFacts are what package config needs of the lease.
func (n *node) leaseFacts() config.Lease {
	uuid, _ := os.ReadFile("/sys/class/dmi/id/product_uuid")
	return config.Lease{
		Addr: n.lease.Addr.Addr(), MAC: n.lease.MAC, Hostname: n.lease.Hostname,
		UUID: strings.ToLower(strings.TrimSpace(string(uuid))), RootPath: n.lease.RootPath,
		Server: n.cfg.ChosenIP().Server, NextServer: n.lease.NextServer, ServerID: n.lease.ServerID,
	}
}

// address turns a server's name into an address.
func (n *node) address(ctx context.Context, server string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(server); err == nil {
		return addr, nil
	}
	n.waitFor("a DNS server to tell the address of " + server)
	r := network.Resolver{Servers: n.lease.DNS, Search: searchList(n.lease)}
	return r.Lookup(ctx, server)
}

func (n *node) reportNetwork(link netlink.Link) {
	l := n.lease
	f := networkFacts{
		Device: l.Device, MAC: l.MAC.String(), Proto: l.Proto, Address: l.Addr.String(),
		MTU: link.Attrs().MTU, Hostname: l.Hostname, Lease: int(l.Time.Seconds()),
	}
	if l.MTU > 0 {
		f.MTU = l.MTU
	}
	if l.ServerID.IsValid() {
		f.Server = l.ServerID.String()
	}
	for _, r := range l.Routes {
		f.Routes = append(f.Routes, fmt.Sprintf("%s by %s", r.Dst, r.Gateway))
	}
	for _, a := range l.DNS {
		f.DNS = append(f.DNS, a.String())
	}
	if driver, err := os.Readlink(filepath.Join("/sys/class/net", l.Device, "device/driver")); err == nil {
		f.Driver = filepath.Base(driver)
	}
	n.report.Network = f
}
