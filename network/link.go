package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Choice names the NIC to use: by MAC where that is set, else by name.
type Choice struct {
	Device string
	MAC    net.HardwareAddr
}

func (c Choice) String() string {
	if c.MAC != nil {
		return c.MAC.String()
	}
	return c.Device
}

// Find waits until the NIC is there. rescan is called now and then to load the
// drivers of devices that turned up late (USB, Hyper-V). sysfs is for the
// diagnosis when the wait ends with a *NoDeviceError.
func Find(ctx context.Context, c Choice, sysfs string, rescan func()) (netlink.Link, error) {
	var found netlink.Link
	var have []string
	rounds := 0
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		links, err := netlink.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("network: list links: %w", err)
		}
		have = have[:0]
		for _, l := range links {
			a := l.Attrs()
			if a.Flags&net.FlagLoopback != 0 {
				continue
			}
			have = append(have, a.Name)
			if (c.MAC != nil && bytes.Equal(a.HardwareAddr, c.MAC)) || (c.MAC == nil && a.Name == c.Device) {
				found = l
				return true, nil
			}
		}
		rounds++
		if rounds%10 == 0 {
			rescan()
		}
		return false, nil
	})
	if err == nil {
		return found, nil
	}
	if ctx.Err() != nil {
		return nil, &NoDeviceError{Device: c.String(), Have: have, Unclaimed: Unclaimed(sysfs)}
	}
	return nil, err
}

// BringUp sets the link up, once, and waits for its carrier. A link that is up
// already is not touched: each change starts the switch's spanning tree anew.
func BringUp(ctx context.Context, link netlink.Link) error {
	start := time.Now()
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			hint := ""
			if errors.Is(err, unix.ENOENT) {
				hint = ": its driver misses its firmware: install it in the tree and build the image again"
			}
			return fmt.Errorf("network: set %s up: %w%s", link.Attrs().Name, err, hint)
		}
	}
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) { return HasCarrier(link) })
	if err != nil && ctx.Err() != nil {
		return &NoCarrierError{Device: link.Attrs().Name, Waited: time.Since(start)}
	}
	return err
}

// HasCarrier tells whether the link is up down to its cable.
func HasCarrier(link netlink.Link) (bool, error) {
	l, err := netlink.LinkByIndex(link.Attrs().Index)
	if err != nil {
		return false, fmt.Errorf("network: %s: %w", link.Attrs().Name, err)
	}
	a := l.Attrs()
	up := a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown
	return up && a.RawFlags&unix.IFF_LOWER_UP != 0, nil
}

// pciClassEthernet is the class code of Ethernet controllers, without the
// programming interface (PCI Code and ID Assignment, base class 02h).
const pciClassEthernet = "0x0200"

// Unclaimed lists Ethernet controllers on PCI that no driver has taken.
func Unclaimed(sysfs string) []string {
	dir := filepath.Join(sysfs, "bus/pci/devices")
	devices, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var ids []string
	for _, d := range devices {
		read := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(dir, d.Name(), name))
			return strings.TrimSpace(string(b))
		}
		if !strings.HasPrefix(read("class"), pciClassEthernet) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, d.Name(), "driver")); err == nil {
			continue
		}
		ids = append(ids, fmt.Sprintf("pci %s:%s at %s",
			strings.TrimPrefix(read("vendor"), "0x"), strings.TrimPrefix(read("device"), "0x"), d.Name()))
	}
	return ids
}
