package network

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// How long only the preferred NIC is tried, where any NIC may be used: when it is
// absent, when it has no carrier (a card negotiates for up to 4 s), and when it
// has one but no lease.
const (
	aloneAbsent = 2 * time.Second
	aloneDown   = 5 * time.Second
	aloneSilent = 10 * time.Second
)

// The same for the NIC that the firmware says it booted from. It has just reached
// a server: it is absent only if it appears late (by USB, after the drivers of
// its controller), and without an answer only while a switch port forwards
// nothing.
const (
	bootNICAbsent = 5 * time.Second
	bootNICDown   = 10 * time.Second
	bootNICSilent = time.Minute
)

// How often devices without a driver are looked for: while there is no candidate,
// and while there are some.
const (
	rescanIdle = 500 * time.Millisecond
	rescanBusy = 2 * time.Second
)

// How often the devices are listed: before there is a candidate, and afterwards.
const (
	scanFirst = 20 * time.Millisecond
	scanAgain = 250 * time.Millisecond
)

const (
	// reachTime is how long the server may take to answer over one lease.
	reachTime = 5 * time.Second
	// fallbackWait is how long a better lease is waited for when there is one over
	// which the server did not answer, and forwardingWait how long while another
	// NIC has a carrier: its switch port may forward nothing for twice 15 s.
	fallbackWait   = 15 * time.Second
	forwardingWait = time.Minute
	// retryTime is the time between two tries to reach the server over the fallback
	// lease.
	retryTime = 5 * time.Second
	// earlierTime is how long a NIC that reached the server waits for those that
	// come before it: the identity of a node is made from the NIC that it boots
	// from, and should be the same at every boot.
	earlierTime = time.Second
	// secondaryTime is how much longer the boot waits for the NICs that do not lead
	// to the root.
	secondaryTime = 15 * time.Second
)

// Up carries a plan out. It returns the lease of the NIC that leads to the root
// and those of the others, all of them applied. It sets no link down that leads
// anywhere. The error is a *NoAddressError.
func Up(ctx context.Context, p Plan, o Options) (boot *Lease, others []*Lease, err error) {
	if err := loopbackUp(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now := time.Now()
	u := &attempt{plan: p, opts: o, begun: now, rescanned: now, results: make(chan *candidate)}
	if o.BootMAC == nil || o.TryAll {
		u.anyFrom = now
	}
	return u.run(ctx)
}

// An attempt is one try to carry out a plan.
type attempt struct {
	plan     Plan
	opts     Options
	begun    time.Time
	triesAll bool
	// anyFrom is when any NIC was allowed: after the wait for the one with
	// Options.BootMAC.
	anyFrom    time.Time
	rescanned  time.Time
	built      bool // bonds and VLANs are there
	candidates []*candidate
	results    chan *candidate
	// fallback is the best lease so far by which the server was not reached.
	fallback      *candidate
	fallbackSince time.Time
	fallbackTried time.Time
	// reached: the server answered, or it did not have to be asked.
	reached    bool
	waitingFor string
}

func (a *attempt) run(ctx context.Context) (*Lease, []*Lease, error) {
	var boot *candidate
	for boot == nil {
		if err := a.scan(ctx); err != nil {
			return nil, nil, errors.Join(err, a.stop(nil))
		}
		if ok, err := a.retryFallback(ctx); err != nil {
			return nil, nil, errors.Join(err, a.stop(nil))
		} else if ok {
			boot = a.fallback
			break
		}
		if a.fallback != nil && (time.Since(a.fallbackSince) > a.fallbackTime() || a.exhausted()) {
			boot = a.fallback
			a.opts.Logf("network: the server does not answer over any lease: the lease on %s is used", boot.lease.Device)
			if err := apply(boot.link, boot.lease, a.opts.Logf); err != nil {
				return nil, nil, errors.Join(err, a.stop(nil))
			}
			break
		}
		if a.exhausted() {
			err := a.failure()
			return nil, nil, errors.Join(err, a.stop(nil))
		}
		pause := scanFirst
		if len(a.candidates) > 0 {
			pause = scanAgain
		}
		select {
		case r := <-a.results:
			r.done = true
			if a.dropIfGone(r) {
				continue
			}
			ok, err := a.accept(ctx, r)
			if ok {
				a.reached = true
				boot, err = a.preferEarlier(ctx, r)
			}
			if err != nil {
				return nil, nil, errors.Join(err, a.stop(nil))
			}
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, errors.Join(ctx.Err(), a.stop(nil))
		}
	}
	// Where no NIC has that MAC, booting from another one is not worth a message.
	isGuessed := func(r *candidate) bool { return a.isBootNIC(r.link) }
	if boot.iface.isAny() && !isGuessed(boot) && slices.ContainsFunc(a.candidates, isGuessed) {
		a.opts.Logf("network: THIS NODE BOOTS FROM %s (%s), not from the NIC that the firmware booted from (BOOTIF=%s): its address, its name and its identity may differ from other boots",
			boot.link.Name, boot.link.HardwareAddr, a.opts.BootMAC)
	}
	others := a.configureOthers(ctx, boot)
	return boot.lease, others, a.stop(boot)
}

// accept decides whether a candidate that is done leads to the root. The only
// one does so if it has a lease.
func (a *attempt) accept(ctx context.Context, r *candidate) (bool, error) {
	if r.err != nil || r.iface.Secondary {
		return false, nil
	}
	if a.isOnly(r) {
		err := apply(r.link, r.lease, a.opts.Logf)
		return err == nil, err
	}
	answer, err := a.tryServer(ctx, r)
	if answer == nil || err != nil {
		return err == nil, err
	}
	a.opts.Logf("network: %s has %s, but %v; waiting for a better lease", r.lease.Device, r.lease.Addr, answer)
	if a.fallback == nil || a.fallback.lease.RootPath == "" && r.lease.RootPath != "" {
		a.fallback, a.fallbackSince, a.fallbackTried = r, time.Now(), time.Now()
	}
	return false, nil
}

// tryServer applies a lease and asks whether the server answers over it. Where it
// does not, that is answer, and the lease is removed again; err is another
// failure.
func (a *attempt) tryServer(ctx context.Context, r *candidate) (answer, err error) {
	if err := apply(r.link, r.lease, a.opts.Logf); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if answer = a.opts.Reach(ctx, r.lease); answer != nil {
		err = removeAll(r.link)
	}
	return answer, err
}

// retryFallback asks once more over the fallback lease: the server may have
// started meanwhile.
func (a *attempt) retryFallback(ctx context.Context) (bool, error) {
	if a.fallback == nil || time.Since(a.fallbackTried) < retryTime {
		return false, nil
	}
	answer, err := a.tryServer(ctx, a.fallback)
	a.fallbackTried = time.Now()
	a.reached = answer == nil && err == nil
	return a.reached, err
}

// fallbackTime is how long to wait for a better lease than the fallback.
func (a *attempt) fallbackTime() time.Duration {
	if slices.ContainsFunc(a.candidates, (*candidate).mayLead) {
		return forwardingWait
	}
	return fallbackWait
}

// preferEarlier waits a little for the NICs that come before the one that reached
// the server, and returns the first of them over which the server is reached.
func (a *attempt) preferEarlier(ctx context.Context, boot *candidate) (*candidate, error) {
	wait := earlierTime
	if slices.ContainsFunc(a.candidates, func(r *candidate) bool { return a.isBootNIC(r.link) }) {
		wait = bootNICAbsent
	}
	late := time.After(wait)
	for {
		before := a.candidates[:slices.Index(a.candidates, boot)]
		if !slices.ContainsFunc(before, (*candidate).mayLead) {
			return boot, nil
		}
		select {
		case r := <-a.results:
			r.done = true
			if r.err != nil || r.iface.Secondary || !slices.Contains(before, r) {
				continue
			}
			// No other lease must be in place when the server is asked.
			err := removeAll(boot.link)
			if err == nil {
				var answer error
				if answer, err = a.tryServer(ctx, r); answer == nil && err == nil {
					return r, nil
				}
			}
			if err == nil {
				err = apply(boot.link, boot.lease, a.opts.Logf)
			}
			if err != nil {
				return nil, err
			}
		case <-late:
			return boot, nil
		}
	}
}

// dropIfGone drops a candidate whose NIC is no longer there: it may come back.
func (a *attempt) dropIfGone(r *candidate) bool {
	if _, err := rtnetlink.ByIndex(r.link.Index); r.err == nil || err == nil {
		return false
	}
	a.opts.Logf("network: %s was removed: %v", r.link.Name, r.err)
	a.candidates = slices.DeleteFunc(a.candidates, func(other *candidate) bool { return other == r })
	return true
}

// isOnly tells whether a candidate is the only one left: others have failed.
func (a *attempt) isOnly(r *candidate) bool {
	if a.fallback != nil {
		return false
	}
	if r.iface.isAny() && !a.triesAll {
		return !slices.ContainsFunc(a.candidates, func(other *candidate) bool { return other != r && !other.done && other.iface.isAny() })
	}
	for _, other := range a.candidates {
		if other != r && !other.done && !other.iface.Secondary {
			return false
		}
	}
	for i := range a.plan.Interfaces {
		if w := &a.plan.Interfaces[i]; !w.Secondary && !a.started(w) {
			return false
		}
	}
	return true
}

func (a *attempt) started(w *Interface) bool {
	return slices.ContainsFunc(a.candidates, func(r *candidate) bool { return r.iface == w })
}

// exhausted tells whether no candidate can succeed any more.
func (a *attempt) exhausted() bool {
	for _, r := range a.candidates {
		if !r.done && !r.iface.Secondary {
			return false
		}
	}
	late := time.Since(a.begun) > a.opts.CarrierTime
	for i := range a.plan.Interfaces {
		w := &a.plan.Interfaces[i]
		if w.Secondary {
			continue
		}
		if !a.started(w) && !late {
			return false
		}
	}
	return true
}

// configureOthers waits a little for the NICs that do not lead to the root but
// were asked for, and applies their leases, with routes of a higher metric than
// those of the boot NIC.
func (a *attempt) configureOthers(ctx context.Context, boot *candidate) (others []*Lease) {
	ctx, cancel := context.WithTimeout(ctx, secondaryTime)
	defer cancel()
	// A NIC has one address of a family, that of the boot.
	wanted := func(r *candidate) bool {
		return r != boot && !r.iface.mayBeSeveral() && (r.link.Index != boot.link.Index || r.iface.Is6() != boot.iface.Is6())
	}
	for ctx.Err() == nil && slices.ContainsFunc(a.candidates, func(r *candidate) bool { return wanted(r) && !r.done }) {
		select {
		case r := <-a.results:
			r.done = true
		case <-ctx.Done():
		}
	}
	for _, r := range a.candidates {
		if !wanted(r) {
			continue
		}
		// A candidate that still runs may write its lease.
		err := errors.New("no address yet")
		if r.done {
			err = r.err
		}
		if err == nil {
			const behind = 1024
			r.lease.Metric = behind + r.link.Index
			err = apply(r.link, r.lease, a.opts.Logf)
		}
		if err != nil {
			a.opts.Logf("network: %s has no address: %s", r.link.Name, tableText(err))
			continue
		}
		others = append(others, r.lease)
	}
	return others
}

// stop ends the candidates' goroutines. Where one has been chosen, the leases of
// NICs that were only tried are released and these NICs are set down again,
// unless the chosen one may be wrong.
func (a *attempt) stop(boot *candidate) error {
	for _, r := range a.candidates {
		r.cancel()
	}
	for slices.ContainsFunc(a.candidates, func(r *candidate) bool { return !r.done }) {
		r := <-a.results
		r.done = true
	}
	if boot == nil {
		return nil
	}
	for _, r := range a.candidates {
		if r == boot || !r.iface.mayBeSeveral() {
			continue
		}
		// Two NICs with one MAC are given one address.
		if r.lease != nil && r.lease.Proto == "dhcp" && r.lease.Addr != boot.lease.Addr {
			if err := release(r.link, r.lease); err != nil {
				a.opts.Logf("%v", err)
			}
		}
		if r.link.Index == boot.link.Index {
			continue // The same NIC by another method.
		}
		err := removeAll(r.link)
		// One with a carrier may be the right one, behind a switch port that would
		// block again.
		carrier, _ := hasCarrier(r.link)
		if err == nil && !r.wasUp && (a.reached || !carrier) {
			err = rtnetlink.SetDown(r.link)
		}
		if err != nil {
			a.opts.Logf("network: set %s down again: %v", r.link.Name, err)
		}
	}
	return nil
}
