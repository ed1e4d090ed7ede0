package rtnetlink

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An Address is one of a device.
type Address struct {
	Prefix netip.Prefix
	// Broadcast is IPv4's, the zero Addr where there is none.
	Broadcast netip.Addr
	// Flags are the kernel's IFA_F_ flags (include/uapi/linux/if_addr.h).
	Flags uint32
}

// Addresses are those of a device, of one family (unix.AF_INET, unix.AF_INET6).
func Addresses(l *Link, family int) ([]Address, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfAddrmsg(family))
	all, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	if err != nil {
		return nil, err
	}
	var found []Address
	for _, b := range all {
		if len(b) < unix.SizeofIfAddrmsg {
			return nil, errShort
		}
		msg := nl.DeserializeIfAddrmsg(b)
		if int(msg.Index) != l.Index || int(msg.Family) != family {
			continue
		}
		a := Address{Flags: uint32(msg.Flags)}
		var own, far netip.Addr
		if err := eachAttribute(b[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) error {
			switch kind {
			case unix.IFA_LOCAL:
				own, _ = netip.AddrFromSlice(value)
			case unix.IFA_ADDRESS:
				far, _ = netip.AddrFromSlice(value)
			case unix.IFA_BROADCAST:
				a.Broadcast, _ = netip.AddrFromSlice(value)
			case unix.IFA_FLAGS:
				a.Flags = uint32(number(value))
			}
			return nil
		}); err != nil {
			return nil, err
		}
		// On a line between two, IFA_ADDRESS is the other end's. IPv6 has no
		// IFA_LOCAL but there.
		if !own.IsValid() {
			own = far
		}
		if own.IsValid() {
			a.Prefix = netip.PrefixFrom(own, int(msg.Prefixlen))
			found = append(found, a)
		}
	}
	return found, nil
}

// ReplaceAddress gives a device an address, or changes the one that it has.
func ReplaceAddress(l *Link, a Address) error {
	return change(l, a, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
}

// DeleteAddress takes an address away.
func DeleteAddress(l *Link, a Address) error { return change(l, a, unix.RTM_DELADDR, 0) }

func change(l *Link, a Address, command, flags int) error {
	family := unix.AF_INET
	if a.Prefix.Addr().Is6() {
		family = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(command, flags|unix.NLM_F_ACK)
	msg := nl.NewIfAddrmsg(family)
	msg.Index, msg.Prefixlen = uint32(l.Index), uint8(a.Prefix.Bits())
	req.AddData(msg)
	own := a.Prefix.Addr().AsSlice()
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, own))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, own))
	if a.Flags != 0 {
		req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(a.Flags)))
	}
	if b := a.Broadcast; b.IsValid() && command == unix.RTM_NEWADDR {
		req.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, b.AsSlice()))
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
