package network

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/sidusboot/sidusboot/network/ipv4"
	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"
)

// apply puts the lease's address, MTU and routes on the link, and takes away
// what an earlier lease left there. It can be called again. The address has no
// lifetime in the kernel: the root must not be lost when a lease is not renewed.
// A route or an MTU that the kernel refuses is reported by logf and left out, as
// ipconfig.c does.
func apply(link *rtnetlink.Link, l *Lease, logf func(format string, args ...any)) error {
	if err := setMTU(link, l.MTU); err != nil {
		logf("network: the MTU of %s cannot be set to %d, as the lease asks: it stays %d: %v", l.Device, l.MTU, link.MTU, err)
	}
	if l.Proto == protoRouter || l.Proto == protoDHCP6 {
		// The address is there already, see address6, and the route by the router.
		for _, r := range l.Routes {
			if r.Dst.Bits() > 0 {
				l.setRoute(link, r, logf)
			}
		}
		return nil
	}
	if err := removeOthers(link, l.Addr); err != nil {
		return err
	}
	if err := giveAddress(link, l.Addr, l.Broadcast); err != nil {
		return fmt.Errorf("network: set the address of %s to %s: %w", l.Device, l.Addr, err)
	}
	if l.Addr.Addr().Is6() {
		if err := awaitUsable(context.Background(), link, l.Addr.Addr()); err != nil {
			return err
		}
	}
	for _, r := range l.Routes {
		l.setRoute(link, r, logf)
	}
	if l.Addr.Addr().Is4() && link.Type == unix.ARPHRD_ETHER {
		if err := announce(link, l.Addr.Addr()); err != nil {
			logf("%v", err)
		}
	}
	return nil
}

// giveAddress gives the link an address, with the usual broadcast address where
// none is given. A network of two addresses at most has none.
func giveAddress(link *rtnetlink.Link, addr netip.Prefix, broadcast netip.Addr) error {
	if !broadcast.IsValid() && addr.Addr().Is4() && addr.Bits() <= 30 {
		broadcast = ipv4.Broadcast(addr)
	}
	return rtnetlink.ReplaceAddress(link, rtnetlink.Address{Prefix: addr, Broadcast: broadcast})
}

func (l *Lease) setRoute(link *rtnetlink.Link, r Route, logf func(format string, args ...any)) {
	if err := setRoute(link.Index, r, l.Addr, l.Metric); err != nil {
		logf("network: route %s by %s on %s: %v: left out", r.Dst, r.Gateway, l.Device, err)
	}
}

// removeOthers removes the link's other addresses of the family and the routes
// that an earlier lease brought. An invalid keep keeps none, of IPv4.
func removeOthers(link *rtnetlink.Link, keep netip.Prefix) error {
	family := unix.AF_INET
	if keep.IsValid() && keep.Addr().Is6() {
		family = unix.AF_INET6
	}
	if err := removeRoutes(link.Index, uint8(family)); err != nil {
		return fmt.Errorf("network: %s: %w", link.Name, err)
	}
	have, err := addresses(link, family)
	if err != nil {
		return err
	}
	for _, a := range have {
		// IPv6 addresses that the kernel made itself stay.
		kernels := family == unix.AF_INET6 && (a.Flags&unix.IFA_F_PERMANENT == 0 || a.Prefix.Addr().IsLinkLocalUnicast())
		if kernels || a.Prefix == keep {
			continue
		}
		if err := rtnetlink.DeleteAddress(link, a); err != nil {
			return fmt.Errorf("network: remove %s from %s: %w", a.Prefix, link.Name, err)
		}
	}
	return nil
}

// removeAll takes the address and the routes of a lease away.
func removeAll(link *rtnetlink.Link) error { return removeOthers(link, netip.Prefix{}) }

// SetAddress waits for a device until ctx ends, sets it up and gives it an
// address instead of others of its family, without routes and without a check
// whether it is in use: for a network beside the one that the node boots from.
func SetAddress(ctx context.Context, device string, addr netip.Prefix) error {
	var link *rtnetlink.Link
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		l, err := rtnetlink.ByName(device)
		link = l
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("network: there is no %s: is its driver in the image (initrdgen build --profile infiniband)?", device)
	}
	if err := setUp(link); err != nil {
		return err
	}
	if err := removeOthers(link, addr); err != nil {
		return err
	}
	if err := giveAddress(link, addr, netip.Addr{}); err != nil {
		return fmt.Errorf("network: set the address of %s to %s: %w", device, addr, err)
	}
	return nil
}
