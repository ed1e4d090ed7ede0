package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// A NoDeviceError says that no NIC of that name or address turned up.
type NoDeviceError struct {
	// Device is what was looked for; empty: any NIC.
	Device string
	// Have are the NICs that did.
	Have []string
	// Unclaimed are network controllers for which no driver was found, as
	// bus and id.
	Unclaimed []string
}

func (e *NoDeviceError) Error() string {
	text := "there is no NIC"
	if e.Device != "" {
		text += " " + e.Device
	}
	if len(e.Have) > 0 {
		text += fmt.Sprintf(", only %v: choose one with ip=:::::DEVICE:dhcp", e.Have)
	}
	if len(e.Unclaimed) > 0 {
		text += fmt.Sprintf("; no driver in this image for %v: build it with --profile generic or --module NAME, or with the driver's firmware in the tree", e.Unclaimed)
	} else if len(e.Have) == 0 {
		text += ", and no network controller without a driver either: is there one, and is it enabled in the firmware?"
	}
	return text
}

// A NoCarrierError says that a link stayed down.
type NoCarrierError struct {
	Device string
	Waited time.Duration
}

func (e *NoCarrierError) Error() string {
	return fmt.Sprintf("%s: link is down after %v: check the cable and the switch port", e.Device, e.Waited.Round(time.Second))
}

// A NoLeaseError says that DHCP gave no address. Err is the last thing that
// went wrong, or nil where no server answered at all.
type NoLeaseError struct {
	Device  string
	MAC     net.HardwareAddr
	Waited  time.Duration
	Carrier bool
	// V6 is for DHCPv6.
	V6 bool
	// Router6: there is an IPv6 router on the link.
	Router6 bool
	Err     error
}

// onlyIPv6 is for a link with an IPv6 router and without an answer by IPv4.
const onlyIPv6 = "An IPv6 router is on this link: if it is a network without IPv4, use ip=auto6 (or ip=dhcp6), and an IPv6 address for the NFS server"

func (e *NoLeaseError) Error() string {
	protocol, link := "DHCP", "link is up"
	if e.V6 {
		protocol = "DHCPv6"
	}
	if !e.Carrier {
		link = "link is down"
	}
	where := fmt.Sprintf("%s on %s (%s) in %v, %s: ", protocol, e.Device, e.MAC, e.Waited.Round(time.Second), link)
	if e.Err != nil {
		return "no lease: " + where + e.Err.Error()
	}
	if e.Router6 {
		return "no answer from " + where + "is the server up, and does it know this address? " + onlyIPv6
	}
	return "no answer from " + where + "is the server up, and does it know this address?"
}

func (e *NoLeaseError) Unwrap() error { return e.Err }

// A RefusedError is a NAK of a DHCP server.
type RefusedError struct {
	Server  netip.Addr
	Message string
	// Renewal: the address is one that the node has already.
	Renewal bool
}

func (e *RefusedError) Error() string {
	what := "the address that it offered"
	if e.Renewal {
		what = "to renew the address"
	}
	text := fmt.Sprintf("the DHCP server %s refuses %s (NAK)", e.Server, what)
	if e.Message != "" {
		text += fmt.Sprintf(": %q", e.Message)
	}
	return text + ": check its log for this node's MAC"
}

// A NoAddressError says that none of the NICs that were tried has an address that
// is of use. Its Table is for the operator.
type NoAddressError struct {
	NICs      []NIC
	Unclaimed []string
	// Errs are those of the NICs, in the order in which they were tried.
	Errs []error
}

// Error is short where one NIC was tried; of several only the number is told
// and the first one's trouble: the Table has the rest.
func (e *NoAddressError) Error() string {
	switch len(e.Errs) {
	case 0:
		return (&NoDeviceError{Unclaimed: e.Unclaimed}).Error()
	case 1:
		return e.Errs[0].Error()
	}
	return fmt.Sprintf("none of %d NICs has an address; the first one: %v", len(e.Errs), e.Errs[0])
}

func (e *NoAddressError) Unwrap() []error { return e.Errs }

// Table has a line for each NIC that was found, and for each controller that no
// driver in the image drives.
func (e *NoAddressError) Table() []string {
	var lines []string
	for _, n := range e.NICs {
		lines = append(lines, n.String())
	}
	for _, u := range e.Unclaimed {
		lines = append(lines, u+": no driver in this image")
	}
	return lines
}

// tableText is an error as a part of a line of the table.
func tableText(err error) string {
	var carrier *NoCarrierError
	var lease *NoLeaseError
	switch {
	case errors.As(err, &carrier):
		return fmt.Sprintf("no carrier in %v", carrier.Waited.Round(time.Second))
	case errors.As(err, &lease) && lease.Err == nil:
		text := fmt.Sprintf("no answer from DHCP in %v", lease.Waited.Round(time.Second))
		if lease.Router6 {
			text += ", but an IPv6 router is there"
		}
		return text
	case errors.As(err, &lease):
		err = lease.Err
	}
	return strings.TrimPrefix(err.Error(), "network: ")
}

// failure is the error of the whole attempt, with the state of each NIC.
func (a *attempt) failure() error {
	e := &NoAddressError{Unclaimed: unclaimedControllers(a.opts.Sysfs)}
	all, err := links()
	if err != nil {
		return err
	}
	var have []string
	for _, l := range all {
		if l.IsLoopback() {
			continue
		}
		have = append(have, l.Name)
		n := describe(l, a.opts.Sysfs)
		for _, r := range a.candidates {
			if r.link.Index == l.Index && r.err != nil {
				n.State = tableText(r.err)
			}
		}
		e.NICs = append(e.NICs, n)
	}
	for i := range a.plan.Interfaces {
		w := &a.plan.Interfaces[i]
		if !a.started(w) {
			device := w.String()
			if w.isAny() {
				device = ""
			}
			e.Errs = append(e.Errs, &NoDeviceError{Device: device, Have: have, Unclaimed: e.Unclaimed})
		}
	}
	for _, r := range a.candidates {
		if r.err != nil {
			e.Errs = append(e.Errs, r.err)
		}
	}
	return e
}
