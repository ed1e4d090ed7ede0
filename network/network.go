// Package network brings one wired NIC up: it waits for the device and for its
// carrier, asks for a lease by DHCP (RFC 2131) or takes static values, and sets
// addresses, routes and MTU in the kernel.
//
// It needs the NIC's driver and, where the kernel has no AF_PACKET built in,
// the module af_packet. It writes no file.
package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// A Lease is what the node got for its NIC, by DHCP or from ip=.
type Lease struct {
	Device string
	MAC    net.HardwareAddr
	// Addr is the node's address with the length of its netmask.
	Addr      netip.Prefix
	Broadcast netip.Addr
	// Routes are in the order in which they are to be set. The default route
	// has a destination of length 0.
	Routes []Route
	DNS    []netip.Addr
	// Domain is option 15, Search option 119.
	Domain   string
	Search   []string
	Hostname string
	MTU      int
	NTP      []netip.Addr
	// RootPath is option 17 as it came, without trailing NULs.
	RootPath string
	// NextServer is siaddr, ServerID option 54; the zero Addr where absent.
	NextServer, ServerID netip.Addr
	// Time is the lease's length, 0 for a static address.
	Time time.Duration
	// BootFile is the file name that the server gave (klibc's filename).
	BootFile string
	// Proto is "dhcp" or "none", as klibc's ipconfig names them.
	Proto string
}

// A Route is one way out. A zero Gateway means that Dst is on the link.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr
}

// Gateway is the default route's gateway, or the zero Addr.
func (l *Lease) Gateway() netip.Addr {
	for _, r := range l.Routes {
		if r.Dst.Bits() == 0 {
			return r.Gateway
		}
	}
	return netip.Addr{}
}

// A NoDeviceError says that the NIC did not appear.
type NoDeviceError struct {
	Device string
	// Have are the NICs that did.
	Have []string
	// Unclaimed are network controllers for which no driver was found, as
	// bus and id.
	Unclaimed []string
}

func (e *NoDeviceError) Error() string {
	text := "there is no NIC " + e.Device
	if len(e.Have) > 0 {
		text += fmt.Sprintf(", only %v: name one with ip=:::::DEVICE:dhcp", e.Have)
	}
	if len(e.Unclaimed) > 0 {
		text += fmt.Sprintf("; no driver in this image for %v: build it with --profile generic or --module NAME, or with the driver's firmware in the tree", e.Unclaimed)
	} else if len(e.Have) == 0 {
		text += " and no network controller without a driver either: is one fitted, and switched on in the firmware?"
	}
	return text
}

// A NoCarrierError says that the link stayed down.
type NoCarrierError struct {
	Device string
	Waited time.Duration
}

func (e *NoCarrierError) Error() string {
	return fmt.Sprintf("%s: link is down after %v: check the cable and the switch port", e.Device, e.Waited.Round(time.Second))
}

// A NoLeaseError says that no usable answer came from DHCP. Carrier is whether
// the link was up when the wait ended.
type NoLeaseError struct {
	Device  string
	MAC     net.HardwareAddr
	Waited  time.Duration
	Carrier bool
	Err     error
}

func (e *NoLeaseError) Error() string {
	link := "link is up"
	if !e.Carrier {
		link = "link is down"
	}
	text := fmt.Sprintf("no answer from DHCP on %s (%s) in %v, %s: is the server up, and does it know this address?",
		e.Device, e.MAC, e.Waited.Round(time.Second), link)
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text
}

func (e *NoLeaseError) Unwrap() error { return e.Err }

// poll calls ready every interval until it is true or ctx ends.
func poll(ctx context.Context, interval time.Duration, ready func() (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		ok, err := ready()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
