package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Routes are set by rtnetlink(7) messages written out here: package netlink's
// own know tunnels, segments and encapsulations, at the price of 70 kB.

// setRoute adds a route on a device, or replaces the one to the same place with
// the same metric. self is the node's address: a gateway that is not on its
// subnet is on the link all the same.
func setRoute(index int, r Route, self netip.Prefix, metric int) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	msg := nl.NewRtMsg()
	msg.Family, msg.Dst_len = family(r.Dst.Addr()), uint8(r.Dst.Bits())
	msg.Protocol, msg.Type, msg.Scope = unix.RTPROT_BOOT, unix.RTN_UNICAST, unix.RT_SCOPE_UNIVERSE
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, r.Dst.Masked().Addr().AsSlice()))
	req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
	if metric > 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(uint32(metric))))
	}
	if !r.Gateway.IsValid() {
		msg.Scope = unix.RT_SCOPE_LINK
	} else {
		req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, r.Gateway.AsSlice()))
		if !self.Contains(r.Gateway) && !r.Gateway.IsLinkLocalUnicast() {
			msg.Flags |= unix.RTNH_F_ONLINK
		}
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// removeRoutes removes a device's routes that setRoute has set.
func removeRoutes(index int, family uint8) error {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	filter := nl.NewRtMsg()
	filter.Family = family
	req.AddData(filter)
	all, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	// Others change routes meanwhile; ours are there all the same.
	if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, b := range all {
		if len(b) < unix.SizeofRtMsg {
			continue
		}
		msg := nl.DeserializeRtMsg(b)
		attrs, err := nl.ParseRouteAttr(b[msg.Len():])
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		if msg.Protocol != unix.RTPROT_BOOT || msg.Table != unix.RT_TABLE_MAIN {
			continue
		}
		del := nl.NewNetlinkRequest(unix.RTM_DELROUTE, unix.NLM_F_ACK)
		del.AddData(msg)
		ours := false
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.RTA_OIF:
				ours = len(a.Value) == 4 && int(binary.NativeEndian.Uint32(a.Value)) == index
			case unix.RTA_DST, unix.RTA_GATEWAY, unix.RTA_PRIORITY:
			default:
				continue
			}
			del.AddData(nl.NewRtAttr(int(a.Attr.Type), a.Value))
		}
		if !ours {
			continue
		}
		if _, err := del.Execute(unix.NETLINK_ROUTE, 0); err != nil {
			return fmt.Errorf("remove a route: %w", err)
		}
	}
	return nil
}

func family(a netip.Addr) uint8 {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
