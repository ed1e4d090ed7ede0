package network

import (
	"errors"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// hearsRouter tells whether the kernel has received advertisements of an IPv6
// router on the link without our asking: there is a route from one (RTPROT_RA), or
// an address from a prefix.
func hearsRouter(link *rtnetlink.Link) bool {
	all, err := addresses(link, unix.AF_INET6)
	if err != nil {
		return false // It is for a hint only.
	}
	for _, a := range all {
		if a.Flags&unix.IFA_F_PERMANENT == 0 && a.Prefix.Addr().IsGlobalUnicast() {
			return true
		}
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	filter := nl.NewRtMsg()
	filter.Family = unix.AF_INET6
	req.AddData(filter)
	routes, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
		return false
	}
	for _, b := range routes {
		if len(b) < unix.SizeofRtMsg {
			continue
		}
		msg := nl.DeserializeRtMsg(b)
		attrs, err := nl.ParseRouteAttr(b[msg.Len():])
		if err != nil || msg.Protocol != unix.RTPROT_RA {
			continue
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4 && int(nl.NativeEndian().Uint32(a.Value)) == link.Index {
				return true
			}
		}
	}
	return false
}
