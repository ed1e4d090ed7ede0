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
	"github.com/sidusboot/sidusboot/dns"
	"github.com/sidusboot/sidusboot/hostname"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
)

// bringNetworkUp loads the NICs' drivers and gets an address on the one that
// leads to the root. While it waits for the network, the modules for NFS and
// the union are loaded.
func (n *node) bringNetworkUp() (string, error) {
	plan := networkPlan(&n.cfg)
	if err := n.system.loader.Load(planModules(&plan)...); err != nil {
		return "", err
	}
	// An error is no end: the NIC may be another driver's. USB controllers are
	// left out unless nothing comes without them (loadMoreDrivers): every machine
	// has some, few need them to boot, and udev loads them later.
	n.loadDrivers(n.system.loader.USBHosts())
	if n.union == nil {
		n.loadUnion(n.firstVersion())
	}
	lease, others, err := network.Up(context.Background(), plan, network.Options{
		// In a second attempt all are tried: the first one did not lead to the root.
		Sysfs: "/sys", Preferred: defaultDevice, TryAll: n.report.Attempts > 1, BootMAC: n.cfg.BootIF,
		CarrierTime: n.cfg.Timeout, LeaseTime: n.cfg.LeaseTimeout,
		PreferRoot: n.cfg.Root.Path == "", SkipProbe: n.cfg.TrustAddress,
		Rescan: n.loadMoreDrivers,
		Reach:  n.reach, Logf: n.log.Errorf, WaitFor: n.waitFor,
	})
	if err != nil {
		return "", err
	}
	n.lease, n.others = lease, others
	if err := n.nameNode(n.givenName()); err != nil {
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
		n.log.Noticef("network: no address so far: loaded %s as well", strings.Join(added, ", "))
	}
}

// planModules are what the plan needs beside the drivers of NICs.
func planModules(p *network.Plan) []string {
	modules := []string{"af_packet"}
	if len(p.Bonds) > 0 {
		modules = append(modules, "bonding")
	}
	if len(p.VLANs) > 0 {
		modules = append(modules, "8021q")
	}
	return modules
}

// givenName is the host name of the ip= words.
func (n *node) givenName() string {
	for _, ip := range n.cfg.IPs {
		if ip.Hostname != "" {
			return ip.Hostname
		}
	}
	return ""
}

// seeNextHop waits for the server, or for the router on the way to it, to
// answer ARP. What does not even do that needs no longer search.
func (n *node) seeNextHop(ctx context.Context, server netip.Addr) error {
	hop := n.lease.NextHop(server)
	link, err := rtnetlink.ByName(n.lease.Device)
	if err != nil {
		return err
	}
	// IPv6 has no ARP, and InfiniBand another one.
	if !hop.Is4() || link.Type != unix.ARPHRD_ETHER {
		return nil
	}
	who := "the NFS server " + hop.String()
	if hop != server {
		who = "the router " + hop.String()
	}
	n.waitFor(who + " to answer ARP on " + n.lease.Device)
	_, err = network.ResolveMAC(ctx, link, n.lease.Addr.Addr(), hop)
	return err
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
		n.log.Errorf("%q is not a host name (letters, digits, dots, hyphens and underscores, at most %d characters): the tree's name stays", name, hostname.MaxNode)
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
	return n.lookUp(ctx, server, n.lease)
}

func (n *node) lookUp(ctx context.Context, server string, l *network.Lease) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(server); err == nil {
		return addr, nil
	}
	r := n.resolver(l)
	return r.Lookup(ctx, server)
}

// resolver asks the name servers of a lease.
func (n *node) resolver(l *network.Lease) dns.Resolver {
	return dns.Resolver{Servers: l.DNS, Search: l.SearchDomains(), V6: l.Addr.Addr().Is6()}
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
