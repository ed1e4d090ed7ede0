// Package rtnetlink lists and sets network devices and their addresses by
// rtnetlink(7). It uses package nl of vishvananda/netlink for the messages;
// that module's own links and addresses know every kind of tunnel, which makes
// /init 90 kB larger.
package rtnetlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Link is a network device as it was when it was asked for.
type Link struct {
	Index int
	Name  string
	MTU   int
	// Flags are the kernel's IFF_ flags (netdevice(7)).
	Flags uint32
	// Type is the kind of hardware, unix.ARPHRD_ETHER for one.
	Type uint16
	// OperState is RFC 2863's state (include/uapi/linux/if.h, IF_OPER_).
	OperState uint8
	// HardwareAddr is nil where there is none, or only zeros.
	HardwareAddr net.HardwareAddr
	// PermHWAddr is the one that the hardware came with; older kernels do not
	// tell it.
	PermHWAddr net.HardwareAddr
	// ParentIndex is the device below a VLAN, MasterIndex the bond or bridge
	// above, 0 where there is none.
	ParentIndex, MasterIndex int
	// Kind is what a device that software makes is, "vlan" or "veth" for two;
	// empty for hardware.
	Kind string
}

// States of a device that can carry packets, as far as the kernel knows.
const (
	OperUnknown = 0
	OperUp      = 6
)

// IsUp tells whether the device is set up.
func (l *Link) IsUp() bool { return l.Flags&unix.IFF_UP != 0 }

// IsLoopback tells whether it is the loopback device.
func (l *Link) IsLoopback() bool { return l.Flags&unix.IFF_LOOPBACK != 0 }

// ErrInterrupted says that something changed while a list was made: ask again.
var ErrInterrupted = nl.ErrDumpInterrupted

// Links are the devices that there are.
func Links() ([]*Link, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	all, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	links := make([]*Link, 0, len(all))
	for _, b := range all {
		l, err := parseLink(b)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

// ByName is the device of a name. The error is unix.ENODEV where there is none.
func ByName(name string) (*Link, error) {
	return get(nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

// ByIndex is the device of an index. The error is unix.ENODEV where there is
// none.
func ByIndex(index int) (*Link, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	return get(msg)
}

func get(msg *nl.IfInfomsg, attributes ...*nl.RtAttr) (*Link, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	req.AddData(msg)
	for _, a := range attributes {
		req.AddData(a)
	}
	all, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("the kernel names %d devices: %w", len(all), unix.ENODEV)
	}
	return parseLink(all[0])
}

var errShort = errors.New("a message of the kernel is too short")

// parseLink reads an RTM_NEWLINK message (rtnetlink(7)).
func parseLink(b []byte) (*Link, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, errShort
	}
	msg := nl.DeserializeIfInfomsg(b)
	l := &Link{Index: int(msg.Index), Flags: msg.Flags, Type: msg.Type}
	err := eachAttribute(b[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) error {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = text(value)
		case unix.IFLA_MTU:
			l.MTU = number(value)
		case unix.IFLA_LINK:
			l.ParentIndex = number(value)
		case unix.IFLA_MASTER:
			l.MasterIndex = number(value)
		case unix.IFLA_OPERSTATE:
			if len(value) > 0 {
				l.OperState = value[0]
			}
		case unix.IFLA_ADDRESS:
			if len(bytes.Trim(value, "\x00")) > 0 {
				l.HardwareAddr = value
			}
		case unix.IFLA_PERM_ADDRESS:
			l.PermHWAddr = value
		case unix.IFLA_LINKINFO:
			return eachAttribute(value, func(kind uint16, value []byte) error {
				if kind == nl.IFLA_INFO_KIND {
					l.Kind = text(value)
				}
				return nil
			})
		}
		return nil
	})
	return l, err
}

// attributeHeader is struct rtattr: length and type (rtnetlink(7)).
const attributeHeader = 4

// eachAttribute calls f for every attribute of a message. Package nl's own
// function panics where the last one is not padded.
func eachAttribute(b []byte, f func(kind uint16, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < attributeHeader {
			return errShort
		}
		length := int(binary.NativeEndian.Uint16(b))
		// The upper two bits are flags (include/uapi/linux/netlink.h, NLA_TYPE_MASK).
		kind := binary.NativeEndian.Uint16(b[2:]) & 0x3fff
		if length < attributeHeader || length > len(b) {
			return errShort
		}
		if err := f(kind, b[attributeHeader:length]); err != nil {
			return err
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return nil
}

// text is a value up to its NUL.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

func number(b []byte) int {
	if len(b) != 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(b))
}

// SetUp sets a device up, SetDown down.
func SetUp(l *Link) error { return setFlags(l, unix.IFF_UP) }

// SetDown sets a device down.
func SetDown(l *Link) error { return setFlags(l, 0) }

func setFlags(l *Link, up uint32) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Flags, msg.Change = up, unix.IFF_UP
	return set(l, msg)
}

// SetName gives a device another name. It has to be down on kernels before 6.3.
func SetName(l *Link, name string) error {
	return set(l, nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

// SetMTU sets a device's MTU, in bytes.
func SetMTU(l *Link, mtu int) error {
	return set(l, nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))))
}

// SetHardwareAddr gives a device another address.
func SetHardwareAddr(l *Link, mac net.HardwareAddr) error {
	return set(l, nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_ADDRESS, mac))
}

func set(l *Link, msg *nl.IfInfomsg, attributes ...*nl.RtAttr) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg.Index = int32(l.Index)
	req.AddData(msg)
	for _, a := range attributes {
		req.AddData(a)
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
