package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/hostname"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/plan"
	"github.com/sidusboot/sidusboot/source"
)

// bringNetworkUp loads the NICs' drivers and gets an address on the one that
// leads to the root. While it waits for the network, the modules for NFS and
// the union are loaded.
func (n *node) bringNetworkUp() (string, error) {
	wanted := plan.Network(&n.cfg)
	if err := n.system.loader.Load(plan.Modules(&wanted)...); err != nil {
		return "", err
	}
	// An error is no end: the NIC may be another driver's. USB controllers are
	// left out unless nothing comes without them (loadMoreDrivers): every machine
	// has some, few need them to boot, and udev loads them later.
	n.loadDrivers(n.system.loader.USBHosts())
	if n.union == nil {
		n.loadUnion(n.firstVersion())
	}
	lease, others, err := network.Up(context.Background(), wanted, network.Options{
		// In a second attempt all are tried: the first one did not lead to the root.
		Sysfs: "/sys", Preferred: plan.DefaultDevice, TryAll: n.report.Attempts > 1, BootMAC: n.cfg.BootIF,
		CarrierTime: n.cfg.Timeout, LeaseTime: n.cfg.LeaseTimeout,
		PreferRoot: n.cfg.Root.Path == "", SkipProbe: n.cfg.TrustAddress,
		Rescan: n.loadMoreDrivers,
		Reach:  n.reachRoot, Logf: n.log.Errorf, WaitFor: n.waitFor,
	})
	if err != nil {
		return "", err
	}
	n.lease, n.others = lease, others
	if err := n.nameNode(plan.Hostname(&n.cfg)); err != nil {
		return "", err
	}
	n.startIB()
	n.reportNetwork()
	detail := fmt.Sprintf("%s (%s) has %s by %s", lease.Device, lease.MAC, lease.Addr, lease.Proto)
	if gw := lease.Gateway(); gw.IsValid() {
		detail += ", gateway " + gw.String()
	}
	if len(n.drivers) > 0 {
		detail += ", drivers " + strings.Join(n.drivers, " ")
	}
	return detail, nil
}

// loadDrivers loads the drivers of the devices that are there, and returns those
// that were not loaded before. What fails is told once.
func (n *node) loadDrivers(except map[string]bool) (added []string) {
	all, err := n.system.loader.LoadDevices("/sys", except)
	for _, name := range all {
		if !slices.Contains(n.drivers, name) {
			added = append(added, name)
		}
	}
	n.drivers = append(n.drivers, added...)
	if err != nil && err.Error() != n.driverTrouble {
		n.driverTrouble = err.Error()
		n.log.Errorf("drivers: %v", err)
	}
	return added
}

// loadMoreDrivers loads the drivers of devices that have turned up since, and of
// USB controllers: the NIC that is wanted may be behind one.
func (n *node) loadMoreDrivers() {
	if added := n.loadDrivers(nil); len(added) > 0 {
		n.log.Noticef("network: no address so far: also loaded %s", strings.Join(added, ", "))
	}
}

// reachRoot tells whether one of the tree's servers answers over a lease.
func (n *node) reachRoot(ctx context.Context, l *network.Lease) error {
	sources, err := n.locateRoot(ctx, l)
	if len(sources) == 0 {
		return err
	}
	return source.Reach(ctx, sources, l)
}

// firstVersion is the NFS version that will be tried first, or empty where the
// lease may still decide.
func (n *node) firstVersion() string {
	if n.cfg.Root.Path == "" {
		return ""
	}
	versions, err := nfs.Source{Version: n.cfg.Root.Version}.Versions(true)
	if err != nil {
		return ""
	}
	return versions[0]
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
	if name != "" && (!hostname.Valid(name) || len(name) > hostname.MaxNode) {
		n.log.Errorf("%q is not a host name (letters, digits, dots, hyphens and underscores, at most %d characters): the tree's host name is kept", name, hostname.MaxNode)
		name = ""
	}
	n.lease.Hostname = name
	if name == "" || n.cfg.IdentityOff["hostname"] {
		return nil
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set the host name to %s: %w", name, err)
	}
	return nil
}

// leaseFacts are what package config needs of the node's lease.
func (n *node) leaseFacts() config.Lease { return n.factsOf(n.lease) }

func (n *node) factsOf(l *network.Lease) config.Lease {
	uuid, _ := os.ReadFile("/sys/class/dmi/id/product_uuid")
	facts := config.Lease{
		Addr: l.Addr.Addr(), MAC: l.MAC, Hostname: l.Hostname,
		UUID: strings.ToLower(strings.TrimSpace(string(uuid))), RootPath: l.RootPath,
		NextServer: l.NextServer, ServerID: l.ServerID,
	}
	for _, ip := range n.cfg.IPs {
		if ip.Server.IsValid() && (ip.Device == "" || ip.Device == l.Device) {
			facts.Server = ip.Server
			break
		}
	}
	return facts
}

// address turns a server's name into an address.
func (n *node) address(ctx context.Context, server string) (netip.Addr, error) {
	n.waitFor("a DNS server for the address of " + server)
	return n.lease.Resolver().Lookup(ctx, server)
}

func (n *node) reportNetwork() {
	l := n.lease
	f := bootlog.Network{
		Device: l.Device, MAC: l.MAC.String(), Proto: l.Proto, Address: l.Addr.String(),
		Hostname: l.Hostname, Lease: int(l.Time.Seconds()), Driver: network.Driver("/sys", l.Device),
	}
	if link, err := rtnetlink.ByName(l.Device); err == nil {
		f.MTU = link.MTU
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
	for _, o := range n.others {
		f.Others = append(f.Others, fmt.Sprintf("%s (%s) has %s by %s", o.Device, o.MAC, o.Addr, o.Proto))
	}
	n.report.Network = f
}
