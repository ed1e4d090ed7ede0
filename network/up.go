package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// How long the first NIC has to itself where any would do: without a carrier
// (a card negotiates for up to 4 s), with one, and when it is not even there.
const (
	aloneAbsent = 2 * time.Second
	aloneDown   = 5 * time.Second
	aloneSilent = 10 * time.Second
)

// How often the devices are looked at: until the first is on its way, and then.
const (
	lookFirst = 20 * time.Millisecond
	lookAgain = 250 * time.Millisecond
)

const (
	// reachTime is what the server gets to answer by way of one lease.
	reachTime = 5 * time.Second
	// settleTime is how long a lease by which it did not is kept in hand for a
	// better one.
	settleTime = 15 * time.Second
	// asideTime is how much longer the boot waits for the NICs that do not
	// lead to the root.
	asideTime = 15 * time.Second
)

// Up carries a plan out and returns the lease of the NIC that leads to the
// root, in place, and those of the others. It sets no link down that leads
// anywhere. The error is a *FailedError.
func Up(ctx context.Context, p Plan, o Options) (boot *Lease, others []*Lease, err error) {
	if err := LoopbackUp(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u := &ascent{plan: p, opts: o, start: time.Now(), results: make(chan *runner)}
	return u.climb(ctx)
}

// An ascent is one go at a plan.
type ascent struct {
	plan    Plan
	opts    Options
	start   time.Time
	looks   int
	widened bool
	built   bool // bonds and VLANs are there
	runners []*runner
	results chan *runner
	// inHand is the best lease so far by which the server was not reached.
	inHand   *runner
	inHandAt time.Time
	said     string
}

// A runner is one NIC on its way to a lease.
type runner struct {
	way    *Way
	link   netlink.Link
	wasUp  bool
	cancel context.CancelFunc
	// What came of it.
	done  bool
	lease *Lease
	err   error
}

func (u *ascent) climb(ctx context.Context) (*Lease, []*Lease, error) {
	var boot *runner
	for boot == nil {
		if err := u.look(ctx); err != nil {
			return nil, nil, errors.Join(err, u.end(nil))
		}
		if u.inHand != nil && (time.Since(u.inHandAt) > settleTime || u.exhausted()) {
			boot = u.inHand
			u.opts.Logf("network: the server does not answer by way of any lease, the one on %s is taken", boot.lease.Device)
			if err := Apply(boot.link, boot.lease, 0, u.opts.Logf); err != nil {
				return nil, nil, errors.Join(err, u.end(nil))
			}
			break
		}
		if u.exhausted() {
			err := u.failed()
			return nil, nil, errors.Join(err, u.end(nil))
		}
		pause := lookFirst
		if len(u.runners) > 0 {
			pause = lookAgain
		}
		select {
		case r := <-u.results:
			r.done = true
			ok, err := u.judge(ctx, r)
			if err != nil {
				return nil, nil, errors.Join(err, u.end(nil))
			}
			if ok {
				boot = r
			}
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, errors.Join(ctx.Err(), u.end(nil))
		}
	}
	others := u.collect(ctx, boot)
	return boot.lease, others, u.end(boot)
}

// look sees which devices are there by now, makes what is to be made of them
// and sends off those that are wanted.
func (u *ascent) look(ctx context.Context) error {
	if u.looks++; u.looks%25 == 0 && len(u.runners) == 0 {
		u.opts.Rescan()
	}
	all, err := links()
	if err != nil {
		return err
	}
	if err := u.build(&all); err != nil {
		return err
	}
	for i := range u.plan.Ways {
		w := &u.plan.Ways[i]
		if w.any() {
			u.sendAny(ctx, w, all)
			continue
		}
		if u.sent(w) {
			continue
		}
		if i := slices.IndexFunc(all, func(l netlink.Link) bool { return u.named(l.Attrs()) && w.fits(l, u.opts.Sysfs) }); i >= 0 {
			u.send(ctx, w, all[i])
		}
	}
	u.sayWaiting()
	return nil
}

// named tells whether a device has its name for good: not one that another
// card is to have.
func (u *ascent) named(a *netlink.LinkAttrs) bool {
	for _, r := range u.plan.Renames {
		if r.Name == a.Name && r.MAC.String() != permanent(a).String() {
			return false
		}
	}
	return !strings.HasPrefix(a.Name, temporary)
}

// build names the cards and makes bonds and VLANs, as far as what they are made
// of is there.
func (u *ascent) build(all *[]netlink.Link) (err error) {
	if u.built || len(u.plan.Renames)+len(u.plan.Bonds)+len(u.plan.VLANs) == 0 {
		return nil
	}
	refresh := func() {
		if err == nil {
			*all, err = links()
		}
	}
	if err := rename(u.plan.Renames, *all); err != nil {
		return err
	}
	complete := !slices.ContainsFunc(u.plan.Renames, func(r Rename) bool {
		return find(*all, func(a *netlink.LinkAttrs) bool { return a.Name == r.Name }) == nil
	})
	for i := range u.plan.Bonds {
		refresh()
		if err != nil {
			return err
		}
		missing, err := u.plan.Bonds[i].build(u.opts.Sysfs, *all)
		if err != nil {
			return err
		}
		complete = complete && len(missing) == 0
	}
	for i := range u.plan.VLANs {
		refresh()
		if err != nil {
			return err
		}
		missing, err := u.plan.VLANs[i].build(*all)
		if err != nil {
			return err
		}
		complete = complete && !missing
	}
	u.built = complete
	refresh()
	return err
}

// sendAny sends off the first NIC, and when that had its moment, all others.
func (u *ascent) sendAny(ctx context.Context, w *Way, all []netlink.Link) {
	var first netlink.Link
	var rest []netlink.Link
	for _, l := range all {
		a := l.Attrs()
		if !wired(l, u.opts.Sysfs) || slices.Contains(u.plan.Leave, a.Name) || !u.named(a) {
			continue
		}
		if a.Name == u.opts.First {
			first = l
		} else {
			rest = append(rest, l)
		}
	}
	if first != nil && !u.running(first) {
		u.send(ctx, w, first)
	}
	if u.opts.Wide {
		u.widened = true
	}
	if !u.widened && len(rest) > 0 {
		since := time.Since(u.start)
		switch {
		case first == nil:
			u.widened = since > aloneAbsent
		case !hasCarrier(first.Attrs()):
			u.widened = since > aloneDown
		default:
			u.widened = since > aloneSilent
		}
		// One that has ended has had its moment.
		if first != nil && slices.ContainsFunc(u.runners, func(r *runner) bool { return r.done && r.link.Attrs().Index == first.Attrs().Index }) {
			u.widened = true
		}
		if u.widened {
			var names []string
			for _, l := range rest {
				names = append(names, l.Attrs().Name)
			}
			u.opts.Logf("network: no address by way of %s so far: trying %s as well", u.opts.First, strings.Join(names, ", "))
		}
	}
	if !u.widened {
		return
	}
	for _, l := range rest {
		if !u.running(l) {
			u.send(ctx, w, l)
		}
	}
}

func (u *ascent) running(l netlink.Link) bool {
	return slices.ContainsFunc(u.runners, func(r *runner) bool { return r.link.Attrs().Index == l.Attrs().Index })
}

// send lets a NIC run. The goroutine is ended by end.
func (u *ascent) send(ctx context.Context, w *Way, l netlink.Link) {
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{way: w, link: l, wasUp: l.Attrs().Flags&net.FlagUp != 0, cancel: cancel}
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
	return lease, nil
}

// fixed is the lease that a Way spells out.
func (u *ascent) fixed(ctx context.Context, w *Way, link netlink.Link) (*Lease, error) {
	l := w.Fixed
	l.Device, l.MAC, l.Proto = link.Attrs().Name, link.Attrs().HardwareAddr, "none"
	if !u.opts.Trust && l.Addr.Addr().Is4() && link.Attrs().EncapType == "ether" {
		if err := CheckUnused(ctx, link, l.Addr.Addr()); err != nil {
			return nil, err
		}
	}
	return &l, nil
}

// judge decides whether a NIC that has ended leads to the root. Where it was
// the only one in question it does, with a lease.
func (u *ascent) judge(ctx context.Context, r *runner) (bool, error) {
	if r.err != nil || r.way.Aside {
		return false, nil
	}
	err := Apply(r.link, r.lease, 0, u.opts.Logf)
	if err != nil || u.alone(r) {
		return err == nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err = u.opts.Reach(ctx, r.lease); err == nil {
		return true, nil
	}
	u.opts.Logf("network: %s has %s, and %v; waiting for a better one", r.lease.Device, r.lease.Addr, err)
	if u.inHand == nil || u.inHand.lease.RootPath == "" && r.lease.RootPath != "" {
		u.inHand, u.inHandAt = r, time.Now()
	}
	return false, dropAll(r.link)
}

// alone tells whether a NIC has no rival: others that ran have failed.
func (u *ascent) alone(r *runner) bool {
	if u.inHand != nil {
		return false
	}
	if r.way.any() && !u.widened {
		return true
	}
	for _, other := range u.runners {
		if other != r && !other.done && !other.way.Aside {
			return false
		}
	}
	for i := range u.plan.Ways {
		if w := &u.plan.Ways[i]; !w.Aside && !u.sent(w) {
			return false
		}
	}
	return true
}

func (u *ascent) sent(w *Way) bool {
	return slices.ContainsFunc(u.runners, func(r *runner) bool { return r.way == w })
}

// exhausted tells whether nothing more can come.
func (u *ascent) exhausted() bool {
	for _, r := range u.runners {
		if !r.done && !r.way.Aside {
			return false
		}
	}
	late := time.Since(u.start) > u.opts.CarrierTime
	for i := range u.plan.Ways {
		w := &u.plan.Ways[i]
		if w.Aside {
			continue
		}
		if !u.sent(w) && !late {
			return false
		}
	}
	return true
}

// collect waits a little for the NICs that do not lead to the root but were
// asked for, and puts their leases in place: with routes that the boot NIC's
// win over.
func (u *ascent) collect(ctx context.Context, boot *runner) (others []*Lease) {
	ctx, cancel := context.WithTimeout(ctx, asideTime)
	defer cancel()
	wanted := func(r *runner) bool { return r != boot && !r.way.any() }
	for ctx.Err() == nil && slices.ContainsFunc(u.runners, func(r *runner) bool { return wanted(r) && !r.done }) {
		select {
		case r := <-u.results:
			r.done = true
		case <-ctx.Done():
		}
	}
	for _, r := range u.runners {
		if !wanted(r) {
			continue
		}
		err := r.err
		if err == nil && r.lease == nil {
			err = errors.New("no address yet")
		}
		if err == nil {
			const metric = 1024
			err = Apply(r.link, r.lease, metric+r.link.Attrs().Index, u.opts.Logf)
		}
		if err != nil {
			u.opts.Logf("network: %s stays without an address: %s", r.link.Attrs().Name, brief(err))
			continue
		}
		others = append(others, r.lease)
	}
	return others
}

// end ends the runners. With a winner, the NICs that were only tried are put
// down again and give their leases back.
func (u *ascent) end(boot *runner) error {
	for _, r := range u.runners {
		r.cancel()
	}
	for slices.ContainsFunc(u.runners, func(r *runner) bool { return !r.done }) {
		r := <-u.results
		r.done = true
	}
	if boot == nil {
		return nil
	}
	for _, r := range u.runners {
		if r == boot || !r.way.any() {
			continue
		}
		if r.lease != nil && r.lease.Proto == "dhcp" {
			if err := Release(r.link, r.lease); err != nil {
				u.opts.Logf("%v", err)
			}
		}
		err := dropAll(r.link)
		if err == nil && !r.wasUp {
			err = netlink.LinkSetDown(r.link)
		}
		if err != nil {
			u.opts.Logf("network: put %s down again: %v", r.link.Attrs().Name, err)
		}
	}
	return nil
}

// failed says what became of each NIC.
func (u *ascent) failed() error {
	e := &FailedError{Unclaimed: Unclaimed(u.opts.Sysfs)}
	all, err := links()
	if err != nil {
		return err
	}
	var have []string
	for _, l := range all {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 {
			continue
		}
		have = append(have, a.Name)
		n := nicOf(l, u.opts.Sysfs)
		for _, r := range u.runners {
			if r.link.Attrs().Index == a.Index && r.err != nil {
				n.State = brief(r.err)
			}
		}
		e.NICs = append(e.NICs, n)
	}
	for i := range u.plan.Ways {
		w := &u.plan.Ways[i]
		if !u.sent(w) {
			device := w.String()
			if w.any() {
				device = ""
			}
			e.Errs = append(e.Errs, &NoDeviceError{Device: device, Have: have, Unclaimed: e.Unclaimed})
		}
	}
	for _, r := range u.runners {
		if r.err != nil {
			e.Errs = append(e.Errs, r.err)
		}
	}
	return e
}

// sayWaiting tells what is waited for.
func (u *ascent) sayWaiting() {
	var what []string
	for _, r := range u.runners {
		if r.done {
			continue
		}
		name := r.link.Attrs().Name
		switch ok, err := HasCarrier(r.link); {
		case err != nil || !ok:
			what = append(what, "the link of "+name)
		case r.way.Method == ByDHCP:
			what = append(what, "an answer from DHCP on "+name)
		default:
			what = append(what, "the address of "+name)
		}
	}
	if len(what) == 0 {
		for i := range u.plan.Ways {
			what = append(what, "the NIC "+u.plan.Ways[i].String())
		}
	}
	if text := strings.Join(what, " and "); text != u.said {
		u.said = text
		u.opts.WaitFor(text)
	}
}
