package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"
)

// links lists the devices. A list that was interrupted by a change is asked for
// again.
func links() ([]*rtnetlink.Link, error) {
	for range 5 {
		all, err := rtnetlink.Links()
		if errors.Is(err, rtnetlink.ErrInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("network: list links: %w", err)
		}
		return all, nil
	}
	return nil, errors.New("network: list links: they changed at each attempt")
}

// addresses lists a device's addresses of one family.
func addresses(link *rtnetlink.Link, family int) ([]rtnetlink.Address, error) {
	for range 5 {
		all, err := rtnetlink.Addresses(link, family)
		if errors.Is(err, rtnetlink.ErrInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("network: list the addresses of %s: %w", link.Name, err)
		}
		return all, nil
	}
	return nil, fmt.Errorf("network: list the addresses of %s: they changed at each attempt", link.Name)
}

// bringUp sets a link up, unless it is, and waits for its carrier until ctx
// ends; then the error is a *NoCarrierError. A link is never set down for this:
// the switch at its other end would start its spanning tree again.
func bringUp(ctx context.Context, link *rtnetlink.Link) error {
	start := time.Now()
	if err := setUp(link); err != nil {
		return err
	}
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) { return hasCarrier(link) })
	if err != nil && ctx.Err() != nil {
		return &NoCarrierError{Device: link.Name, Waited: time.Since(start)}
	}
	return err
}

func setUp(link *rtnetlink.Link) error {
	name := link.Name
	if link.IsUp() {
		return nil
	}
	if err := rtnetlink.SetUp(link); err != nil {
		hint := ""
		if errors.Is(err, unix.ENOENT) {
			hint = ": its driver does not find its firmware: install the firmware in the tree and build the image again"
		}
		return fmt.Errorf("network: set %s up: %w%s", name, err, hint)
	}
	return nil
}

// hasCarrier tells whether the other end of the cable is there.
func hasCarrier(link *rtnetlink.Link) (bool, error) {
	l, err := rtnetlink.ByIndex(link.Index)
	if err != nil {
		return false, fmt.Errorf("network: %s: %w", link.Name, err)
	}
	return linkHasCarrier(l), nil
}

func linkHasCarrier(a *rtnetlink.Link) bool {
	up := a.OperState == rtnetlink.OperUp || a.OperState == rtnetlink.OperUnknown
	return up && a.Flags&unix.IFF_LOWER_UP != 0
}

// loopbackUp sets lo up, with its addresses, which the kernel gives it then.
func loopbackUp() error {
	lo, err := rtnetlink.ByName("lo")
	if err != nil {
		return fmt.Errorf("network: lo: %w", err)
	}
	if err := rtnetlink.SetUp(lo); err != nil {
		return fmt.Errorf("network: set lo up: %w", err)
	}
	return nil
}

// setMAC gives a device that is down another address.
func setMAC(link *rtnetlink.Link, mac net.HardwareAddr) error {
	if mac == nil || link.HardwareAddr.String() == mac.String() {
		return nil
	}
	if link.IsUp() {
		return fmt.Errorf("network: %s is already up, so its MAC cannot be set to %s", link.Name, mac)
	}
	if err := rtnetlink.SetHardwareAddr(link, mac); err != nil {
		return fmt.Errorf("network: set the address of %s to %s: %w", link.Name, mac, err)
	}
	link.HardwareAddr = mac
	return nil
}

// setMTU sets a device's MTU, and before it that of the device below a VLAN, which
// must not be smaller.
func setMTU(link *rtnetlink.Link, mtu int) error {
	if mtu <= 0 || mtu == link.MTU {
		return nil
	}
	if parent := link.ParentIndex; parent != 0 && link.Kind == "vlan" {
		below, err := rtnetlink.ByIndex(parent)
		if err != nil {
			return err
		}
		if below.MTU < mtu {
			if err := rtnetlink.SetMTU(below, mtu); err != nil {
				return fmt.Errorf("%s below it: %w", below.Name, err)
			}
		}
	}
	return rtnetlink.SetMTU(link, mtu)
}

// setIPv6 writes a setting of a device below /proc/sys/net/ipv6/conf.
func setIPv6(device, setting, value string) error {
	path := filepath.Join("/proc/sys/net/ipv6/conf", device, setting)
	if err := os.WriteFile(path, []byte(value+"\n"), 0); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}
