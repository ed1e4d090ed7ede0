package network

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"golang.org/x/sys/unix"
)

// Lease.Proto of addresses by IPv6.
const (
	protoRouter = "auto6"
	protoDHCP6  = "dhcp6"
)

// usableTime is how long the kernel may take to find out whether an IPv6 address
// is in use on the link. It asks once and waits a second (RFC 4862, section
// 5.4).
const usableTime = 5 * time.Second

// managedTime is how long a DHCPv6 server that a router announced may take,
// before an address by the router alone is used; otherTime is how long it may
// take to tell the name servers.
const (
	managedTime = 10 * time.Second
	otherTime   = 2 * time.Second
	// routerTime is how long a node with an address by DHCPv6 listens for a
	// router.
	routerTime = 5 * time.Second
)

// getLease6 gets an IPv6 address that can be used, and puts it in place: by the
// kernel from a router's prefix, or by DHCPv6 where the method or the router
// says so. It waits until ctx ends.
func getLease6(ctx context.Context, link *rtnetlink.Link, method Method, router *routerListener, logf func(string, ...any)) (*Lease, error) {
	start := time.Now()
	name := link.Name
	l := &Lease{Device: name, MAC: link.HardwareAddr, Proto: protoRouter}
	if method == MethodDHCP6 {
		if err := getDHCP6Lease(ctx, link, l); err != nil {
			return nil, err
		}
		// Routes, the one to the link itself among them, come from a router only.
		heard, cancel := context.WithTimeout(ctx, routerTime)
		defer cancel()
		if a, err := router.receive(heard); err == nil {
			l.addAdvertised(&a)
		} else {
			logf("%v: without a router this node reaches only itself", &NoRouterError{Device: name, Waited: routerTime})
		}
		return l, nil
	}
	a, err := router.receive(ctx)
	if err != nil {
		return nil, &NoRouterError{Device: name, Waited: time.Since(start)}
	}
	if a.managed {
		managed, cancel := context.WithTimeout(ctx, managedTime)
		err := getDHCP6Lease(managed, link, l)
		cancel()
		if err == nil {
			l.addAdvertised(&a)
			return l, nil
		}
		if ctx.Err() != nil || len(a.prefixes) == 0 {
			return nil, err
		}
		logf("%v; using an address from the router's prefix", err)
	}
	l.addAdvertised(&a)
	if l.Addr, err = routerAddress(ctx, link); err != nil {
		return nil, err
	}
	if a.other && !a.managed {
		other, cancel := context.WithTimeout(ctx, otherTime)
		defer cancel()
		if err := askFacts6(other, link, l); err != nil {
			logf("%v", err)
		}
	}
	return l, nil
}

// addAdvertised takes from a router what no DHCPv6 server has told.
func (l *Lease) addAdvertised(a *advertisement) {
	if len(l.DNS) == 0 {
		l.DNS = a.dns
	}
	if len(l.Search) == 0 {
		l.Search = a.search
	}
	if a.isDefault {
		l.Routes = []Route{{Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Gateway: a.router}}
	}
	for _, p := range a.prefixes {
		if l.Addr.IsValid() && p.Contains(l.Addr.Addr()) {
			l.Addr = netip.PrefixFrom(l.Addr.Addr(), p.Bits())
		}
	}
}

// routerAddress waits for the kernel's address from a router's prefix.
func routerAddress(ctx context.Context, link *rtnetlink.Link) (found netip.Prefix, err error) {
	name := link.Name
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		all, err := addresses(link, unix.AF_INET6)
		if err != nil {
			return false, err
		}
		for _, a := range all {
			if a.Prefix.Addr().IsLinkLocalUnicast() || a.Flags&unix.IFA_F_PERMANENT != 0 {
				continue
			}
			if usable, err := isUsable(name, a); usable || err != nil {
				found = a.Prefix
				return usable, err
			}
		}
		return false, nil
	})
	if err != nil && ctx.Err() != nil {
		return found, fmt.Errorf("network: %s: the router advertises no prefix for addresses, and no DHCPv6", name)
	}
	return found, err
}

// isUsable tells whether the kernel has found by now that no other host has an
// address. Where one has it, the error is an *InUseError.
func isUsable(device string, a rtnetlink.Address) (bool, error) {
	if a.Flags&unix.IFA_F_DADFAILED != 0 {
		return false, &InUseError{Device: device, Addr: a.Prefix.Addr()}
	}
	return a.Flags&unix.IFA_F_TENTATIVE == 0, nil
}

// awaitUsable waits until an address that was given to the link may be used.
func awaitUsable(ctx context.Context, link *rtnetlink.Link, addr netip.Addr) error {
	return awaitAddress(ctx, link, func(a netip.Addr) bool { return a == addr }, addr.String())
}

// awaitLinkLocal waits until the link has its own address.
func awaitLinkLocal(ctx context.Context, link *rtnetlink.Link) error {
	return awaitAddress(ctx, link, netip.Addr.IsLinkLocalUnicast, "its link-local address")
}

func awaitAddress(ctx context.Context, link *rtnetlink.Link, is func(netip.Addr) bool, what string) error {
	ctx, cancel := context.WithTimeout(ctx, usableTime)
	defer cancel()
	name := link.Name
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		all, err := addresses(link, unix.AF_INET6)
		if err != nil {
			return false, err
		}
		for _, a := range all {
			if is(a.Prefix.Addr()) {
				return isUsable(name, a)
			}
		}
		return false, nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("network: %s: %s cannot be used after %v", name, what, usableTime)
	}
	return err
}
