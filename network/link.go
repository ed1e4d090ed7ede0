package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// links are the devices that there are. A dump that something came in between
// is asked for again.
func links() ([]netlink.Link, error) {
	for range 5 {
		all, err := netlink.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("network: list links: %w", err)
		}
		return all, nil
	}
	return nil, errors.New("network: list links: they change all the time")
}

// addresses are a device's, of one family.
func addresses(link netlink.Link, family int) ([]netlink.Addr, error) {
	for range 5 {
		all, err := netlink.AddrList(link, family)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		return all, err
	}
	return nil, errors.New("they change all the time")
}

// BringUp sets a link up, unless it is, and waits for its carrier until ctx
// ends; then the error is a *NoCarrierError. A link is never set down for this:
// the switch at its other end would begin its spanning tree anew.
func BringUp(ctx context.Context, link netlink.Link) error {
	start := time.Now()
	if err := setUp(link); err != nil {
		return err
	}
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) { return HasCarrier(link) })
	if err != nil && ctx.Err() != nil {
		return &NoCarrierError{Device: link.Attrs().Name, Waited: time.Since(start)}
	}
	return err
}

func setUp(link netlink.Link) error {
	name := link.Attrs().Name
	if link.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := netlink.LinkSetUp(link); err != nil {
		hint := ""
		if errors.Is(err, unix.ENOENT) {
			hint = ": its driver misses its firmware: install it in the tree and build the image again"
		}
		return fmt.Errorf("network: set %s up: %w%s", name, err, hint)
	}
	return nil
}

// HasCarrier tells whether the other end of the cable is there.
func HasCarrier(link netlink.Link) (bool, error) {
	l, err := netlink.LinkByIndex(link.Attrs().Index)
	if err != nil {
		return false, fmt.Errorf("network: %s: %w", link.Attrs().Name, err)
	}
	return hasCarrier(l.Attrs()), nil
}

func hasCarrier(a *netlink.LinkAttrs) bool {
	up := a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown
	return up && a.RawFlags&unix.IFF_LOWER_UP != 0
}

// LoopbackUp sets lo up, with its addresses, which the kernel gives it then.
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

// setMAC gives a device that is down another address.
func setMAC(link netlink.Link, mac net.HardwareAddr) error {
	a := link.Attrs()
	if mac == nil || a.HardwareAddr.String() == mac.String() {
		return nil
	}
	if a.Flags&net.FlagUp != 0 {
		return fmt.Errorf("network: %s is up already, its address cannot be made %s", a.Name, mac)
	}
	if err := netlink.LinkSetHardwareAddr(link, mac); err != nil {
		return fmt.Errorf("network: give %s the address %s: %w", a.Name, mac, err)
	}
	a.HardwareAddr = mac
	return nil
}

// setMTU sets a device's MTU, and before it that of the device that a VLAN
// rides on, which must not be smaller.
func setMTU(link netlink.Link, mtu int) error {
	a := link.Attrs()
	if mtu <= 0 || mtu == a.MTU {
		return nil
	}
	if parent := a.ParentIndex; parent != 0 && link.Type() == "vlan" {
		below, err := netlink.LinkByIndex(parent)
		if err != nil {
			return err
		}
		if below.Attrs().MTU < mtu {
			if err := netlink.LinkSetMTU(below, mtu); err != nil {
				return fmt.Errorf("%s below it: %w", below.Attrs().Name, err)
			}
		}
	}
	return netlink.LinkSetMTU(link, mtu)
}

// setIPv6 writes a setting of a device below /proc/sys/net/ipv6/conf.
func setIPv6(device, setting, value string) error {
	path := filepath.Join("/proc/sys/net/ipv6/conf", device, setting)
	if err := os.WriteFile(path, []byte(value+"\n"), 0); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}
