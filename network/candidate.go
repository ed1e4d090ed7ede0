package network

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// A candidate is a NIC for which a lease is being got.
type candidate struct {
	iface  *Interface
	link   *rtnetlink.Link
	wasUp  bool
	cancel context.CancelFunc
	// What came of it.
	done  bool
	lease *Lease
	err   error
}

// mayLead tells whether the NIC may still get a lease that leads to the root. One
// without a carrier does not get it soon.
func (c *candidate) mayLead() bool {
	if c.done || c.iface.Secondary {
		return false
	}
	ok, err := hasCarrier(c.link)
	return ok && err == nil
}

// start makes a candidate of a NIC. Its goroutine is ended by stop.
func (a *attempt) start(ctx context.Context, w *Interface, l *rtnetlink.Link) {
	ctx, cancel := context.WithCancel(ctx)
	r := &candidate{iface: w, link: l, wasUp: l.IsUp(), cancel: cancel}
	a.candidates = append(a.candidates, r)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("network: BUG in sidusboot, please report it: %v", p)
			}
			a.results <- r
		}()
		r.lease, r.err = a.getLease(ctx, r)
	}()
}

// getLease gets a lease for one NIC. It is not applied yet, except by IPv6, where
// the kernel does that.
func (a *attempt) getLease(ctx context.Context, r *candidate) (*Lease, error) {
	w, link := r.iface, r.link
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
	carrier, cancel := context.WithTimeout(ctx, a.opts.CarrierTime)
	defer cancel()
	if err := bringUp(carrier, link); err != nil {
		return nil, err
	}
	ctx, cancel = context.WithTimeout(ctx, a.opts.LeaseTime)
	defer cancel()
	var lease *Lease
	var err error
	switch w.Method {
	case MethodStatic:
		lease, err = a.staticLease(ctx, w, link)
	case MethodRouter, MethodDHCP6:
		lease, err = getLease6(ctx, link, w.Method, router, a.opts.Logf)
	default:
		lease, err = getLease4(ctx, link, dhcpOptions{
			clientID: w.ClientID, hostname: w.Hostname, preferRoot: a.opts.PreferRoot, skipProbe: a.opts.SkipProbe, logf: a.opts.Logf,
		})
	}
	if err != nil {
		return nil, err
	}
	w.override(lease)
	a.plan.complete(w, lease)
	return lease, nil
}

// staticLease is the lease that an Interface spells out.
func (a *attempt) staticLease(ctx context.Context, w *Interface, link *rtnetlink.Link) (*Lease, error) {
	l := w.Static
	l.Device, l.MAC, l.Proto = link.Name, link.HardwareAddr, "none"
	if !a.opts.SkipProbe && l.Addr.Addr().Is4() && link.Type == unix.ARPHRD_ETHER {
		if err := checkUnused(ctx, link, l.Addr.Addr()); err != nil {
			return nil, err
		}
	}
	return &l, nil
}
