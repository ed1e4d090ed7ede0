package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Apply gives the link the lease's address, MTU and routes. It may be called
// again with another lease: addresses and routes that an earlier one set and
// this one does not have are taken away. The address has no lifetime, as
// nothing in the initramfs renews it. An MTU that the NIC cannot have and a
// route that the kernel refuses are told to logf and left out: the node may
// well boot without.
func Apply(link netlink.Link, l *Lease, logf func(format string, args ...any)) error {
	if l.MTU > 0 && l.MTU != link.Attrs().MTU {
		if err := netlink.LinkSetMTU(link, l.MTU); err != nil {
			logf("network: %s cannot have the MTU of %d that the lease wants, %d stays: %v", l.Device, l.MTU, link.Attrs().MTU, err)
		}
	}
	if err := dropOthers(link, l.Addr); err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(l.Addr)}
	if l.Broadcast.IsValid() {
		addr.Broadcast = l.Broadcast.AsSlice()
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("network: give %s the address %s: %w", l.Device, l.Addr, err)
	}
	for _, r := range l.Routes {
		route := netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.Dst), Protocol: routeProtocolBoot}
		if !r.Gateway.IsValid() {
			route.Scope = netlink.SCOPE_LINK
		} else {
			route.Gw = r.Gateway.AsSlice()
			if !l.Addr.Contains(r.Gateway) {
				// A /32, or a gateway off the subnet: it is on this link all the same.
				route.Flags = int(netlink.FLAG_ONLINK)
			}
		}
		if err := netlink.RouteReplace(&route); err != nil {
			logf("network: route %s by %s on %s: %v: left out", r.Dst, r.Gateway, l.Device, err)
		}
	}
	return nil
}

// routeProtocolBoot marks the routes that Apply sets (RTPROT_BOOT,
// linux/rtnetlink.h).
const routeProtocolBoot = 3

// dropOthers removes IPv4 addresses other than keep from the link, with their
// routes, and the routes of an earlier lease.
func dropOthers(link netlink.Link, keep netip.Prefix) error {
	routes, err := netlink.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("network: list the routes of %s: %w", link.Attrs().Name, err)
	}
	for _, r := range routes {
		if r.Protocol != routeProtocolBoot {
			continue
		}
		if err := netlink.RouteDel(&r); err != nil {
			return fmt.Errorf("network: take the route %s from %s: %w", r.Dst, link.Attrs().Name, err)
		}
	}
	have, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("network: list the addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, a := range have {
		if a.IPNet.String() == keep.String() {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("network: take %s from %s: %w", a.IPNet, link.Attrs().Name, err)
		}
	}
	return nil
}

// LoopbackUp sets lo up; the kernel gives it its addresses.
func LoopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("network: lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("network: set lo up: %w", err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
