package network

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// A runner is one NIC on its way to a lease.
type runner struct {
	way    *Way
	link   *rtnetlink.Link
	wasUp  bool
	cancel context.CancelFunc
	// What came of it.
	done  bool
	lease *Lease
	err   error
}

// asks tells whether the NIC may still have a lease that leads to the root: one
// without a carrier has none soon.
func (r *runner) asks() bool {
	if r.done || r.way.Aside {
		return false
	}
	ok, err := HasCarrier(r.link)
	return ok && err == nil
}

// send lets a NIC run. The goroutine is ended by end.
func (u *ascent) send(ctx context.Context, w *Way, l *rtnetlink.Link) {
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{way: w, link: l, wasUp: l.IsUp(), cancel: cancel}
	u.runners = append(u.runners, r)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("network: BUG in sidusboot, please report it: %v", p)
			}
			u.results <- r
		}()
		r.lease, r.err = u.run(ctx, r)
	}()
}

// run takes one NIC to its lease. Nothing is put in place yet, except by IPv6,
// where the kernel does that.
func (u *ascent) run(ctx context.Context, r *runner) (*Lease, error) {
	w, link := r.way, r.link
	if err := setMAC(link, w.SetMAC); err != nil {
		return nil, err
	}
	var router *routerListener
	if w.Method.is6() {
		var err error
		if router, err = listenRouter(link); err != nil {
			return nil, err
		}
		defer router.Close()
	}
	carrier, cancel := context.WithTimeout(ctx, u.opts.CarrierTime)
	defer cancel()
	if err := BringUp(carrier, link); err != nil {
		return nil, err
	}
	ctx, cancel = context.WithTimeout(ctx, u.opts.LeaseTime)
	defer cancel()
	var lease *Lease
	var err error
	switch w.Method {
	case Fixed:
		lease, err = u.fixed(ctx, w, link)
	case ByRouter, ByDHCP6:
		lease, err = address6(ctx, link, w.Method, router, u.opts.Logf)
	default:
		lease, err = DHCP(ctx, link, DHCPOptions{
			ClientID: w.ClientID, Hostname: w.Hostname, PreferRoot: u.opts.PreferRoot, Trust: u.opts.Trust, Logf: u.opts.Logf,
		})
	}
	if err != nil {
		return nil, err
	}
	w.fix(lease)
	u.plan.add(w, lease)
	return lease, nil
}

// fixed is the lease that a Way spells out.
func (u *ascent) fixed(ctx context.Context, w *Way, link *rtnetlink.Link) (*Lease, error) {
	l := w.Fixed
	l.Device, l.MAC, l.Proto = link.Name, link.HardwareAddr, "none"
	if !u.opts.Trust && l.Addr.Addr().Is4() && link.Type == unix.ARPHRD_ETHER {
		if err := CheckUnused(ctx, link, l.Addr.Addr()); err != nil {
			return nil, err
		}
	}
	return &l, nil
}
