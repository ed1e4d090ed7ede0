package network

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// How long the first NIC has to itself where any would do: without a carrier
// (a card negotiates for up to 4 s), with one, and when it is not even there.
const (
	aloneAbsent = 2 * time.Second
	aloneDown   = 5 * time.Second
	aloneSilent = 10 * time.Second
)

// The same for the NIC that the firmware says it booted from. It has just led to
// a server, so that it is missed only if it turns up late (by USB, after the
// drivers of its controller), and without an answer only while a switch port
// forwards nothing.
const (
	guessAbsent = 5 * time.Second
	guessDown   = 10 * time.Second
	guessSilent = time.Minute
)

// How often devices without a driver are looked for: while there is nothing
// else to do, and beside NICs that are asked.
const (
	rescanIdle = 500 * time.Millisecond
	rescanBusy = 2 * time.Second
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
	// better one, and forwardTime how long while there is another NIC with a
	// carrier: its switch port may forward nothing for twice 15 s.
	settleTime  = 15 * time.Second
	forwardTime = time.Minute
	// againTime is between two tries to reach the server by the lease in hand.
	againTime = 5 * time.Second
	// firstTime is how long the winner waits for NICs that come before it: who
	// a node is, is made of the NIC that it boots by.
	firstTime = time.Second
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
	now := time.Now()
	u := &ascent{plan: p, opts: o, start: now, rescanned: now, results: make(chan *runner)}
	if o.Guess == nil || o.Wide {
		u.anyFrom = now
	}
	return u.climb(ctx)
}

// An ascent is one go at a plan.
type ascent struct {
	plan    Plan
	opts    Options
	start   time.Time
	widened bool
	// anyFrom is when any NIC was to do: after the wait for the one of
	// Options.Guess.
	anyFrom   time.Time
	rescanned time.Time
	built     bool // bonds and VLANs are there
	runners   []*runner
	results   chan *runner
	// inHand is the best lease so far by which the server was not reached.
	inHand    *runner
	inHandAt  time.Time
	inHandTry time.Time
	// reached: the server was, or nobody had to ask.
	reached bool
	said    string
}

func (u *ascent) climb(ctx context.Context) (*Lease, []*Lease, error) {
	var boot *runner
	for boot == nil {
		if err := u.look(ctx); err != nil {
			return nil, nil, errors.Join(err, u.end(nil))
		}
		if ok, err := u.reachAgain(ctx); err != nil {
			return nil, nil, errors.Join(err, u.end(nil))
		} else if ok {
			boot = u.inHand
			break
		}
		if u.inHand != nil && (time.Since(u.inHandAt) > u.patience() || u.exhausted()) {
			boot = u.inHand
			u.opts.Logf("network: the server does not answer by way of any lease, the one on %s is taken", boot.lease.Device)
			if err := Apply(boot.link, boot.lease, u.opts.Logf); err != nil {
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
			if u.forget(r) {
				continue
			}
			ok, err := u.judge(ctx, r)
			if ok {
				u.reached = true
				boot, err = u.first(ctx, r)
			}
			if err != nil {
				return nil, nil, errors.Join(err, u.end(nil))
			}
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, errors.Join(ctx.Err(), u.end(nil))
		}
	}
	// Where no NIC has that MAC another one is the rule.
	isGuessed := func(r *runner) bool { return u.guessed(r.link) }
	if boot.way.any() && !isGuessed(boot) && slices.ContainsFunc(u.runners, isGuessed) {
		u.opts.Logf("network: THIS NODE BOOTS BY %s (%s), not by the NIC that the firmware booted from (BOOTIF=%s): its address, its name and what is made of them may be others than usual",
			boot.link.Name, boot.link.HardwareAddr, u.opts.Guess)
	}
	others := u.collect(ctx, boot)
	return boot.lease, others, u.end(boot)
}

// judge decides whether a NIC that has ended leads to the root. Where it was
// the only one in question it does, with a lease.
func (u *ascent) judge(ctx context.Context, r *runner) (bool, error) {
	if r.err != nil || r.way.Aside {
		return false, nil
	}
	if u.alone(r) {
		err := Apply(r.link, r.lease, u.opts.Logf)
		return err == nil, err
	}
	answer, err := u.reach(ctx, r)
	if answer == nil || err != nil {
		return err == nil, err
	}
	u.opts.Logf("network: %s has %s, and %v; waiting for a better one", r.lease.Device, r.lease.Addr, answer)
	if u.inHand == nil || u.inHand.lease.RootPath == "" && r.lease.RootPath != "" {
		u.inHand, u.inHandAt, u.inHandTry = r, time.Now(), time.Now()
	}
	return false, nil
}

// reach puts a lease in place and asks for the server by way of it. Where that
// does not answer the lease is taken away again; err is for what must not be.
func (u *ascent) reach(ctx context.Context, r *runner) (answer, err error) {
	if err := Apply(r.link, r.lease, u.opts.Logf); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if answer = u.opts.Reach(ctx, r.lease); answer != nil {
		err = dropAll(r.link)
	}
	return answer, err
}

// reachAgain asks once more by way of the lease in hand: the server may have
// come up meanwhile.
func (u *ascent) reachAgain(ctx context.Context) (bool, error) {
	if u.inHand == nil || time.Since(u.inHandTry) < againTime {
		return false, nil
	}
	answer, err := u.reach(ctx, u.inHand)
	u.inHandTry = time.Now()
	u.reached = answer == nil && err == nil
	return u.reached, err
}

// patience is how long a lease in hand may be better than none.
func (u *ascent) patience() time.Duration {
	if slices.ContainsFunc(u.runners, (*runner).asks) {
		return forwardTime
	}
	return settleTime
}

// first gives the NICs that come before the winner a moment, and returns the
// first of those by which the server was reached.
func (u *ascent) first(ctx context.Context, boot *runner) (*runner, error) {
	wait := firstTime
	if slices.ContainsFunc(u.runners, func(r *runner) bool { return u.guessed(r.link) }) {
		wait = guessAbsent
	}
	late := time.After(wait)
	for {
		before := u.runners[:slices.Index(u.runners, boot)]
		if !slices.ContainsFunc(before, (*runner).asks) {
			return boot, nil
		}
		select {
		case r := <-u.results:
			r.done = true
			if r.err != nil || r.way.Aside || !slices.Contains(before, r) {
				continue
			}
			// The server must be asked by its lease alone.
			err := dropAll(boot.link)
			if err == nil {
				var answer error
				if answer, err = u.reach(ctx, r); answer == nil && err == nil {
					return r, nil
				}
			}
			if err == nil {
				err = Apply(boot.link, boot.lease, u.opts.Logf)
			}
			if err != nil {
				return nil, err
			}
		case <-late:
			return boot, nil
		}
	}
}

// forget lets go of a NIC that is no longer there: it may come back.
func (u *ascent) forget(r *runner) bool {
	if _, err := rtnetlink.ByIndex(r.link.Index); r.err == nil || err == nil {
		return false
	}
	u.opts.Logf("network: %s has gone away: %v", r.link.Name, r.err)
	u.runners = slices.DeleteFunc(u.runners, func(other *runner) bool { return other == r })
	return true
}

// alone tells whether a NIC has no rival: others that ran have failed.
func (u *ascent) alone(r *runner) bool {
	if u.inHand != nil {
		return false
	}
	if r.way.any() && !u.widened {
		return !slices.ContainsFunc(u.runners, func(other *runner) bool { return other != r && !other.done && other.way.any() })
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
	// A NIC has one address of a family: the boot's.
	wanted := func(r *runner) bool {
		return r != boot && !r.way.several() && (r.link.Index != boot.link.Index || r.way.Is6() != boot.way.Is6())
	}
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
		// What one that still runs has belongs to it.
		err := errors.New("no address yet")
		if r.done {
			err = r.err
		}
		if err == nil {
			const behind = 1024
			r.lease.Metric = behind + r.link.Index
			err = Apply(r.link, r.lease, u.opts.Logf)
		}
		if err != nil {
			u.opts.Logf("network: %s stays without an address: %s", r.link.Name, brief(err))
			continue
		}
		others = append(others, r.lease)
	}
	return others
}

// end ends the runners. With a winner, the NICs that were only tried give their
// leases back and are put down again, unless the winner may be the wrong one.
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
		if r == boot || !r.way.several() {
			continue
		}
		// Two NICs with one MAC are given one address.
		if r.lease != nil && r.lease.Proto == "dhcp" && r.lease.Addr != boot.lease.Addr {
			if err := Release(r.link, r.lease); err != nil {
				u.opts.Logf("%v", err)
			}
		}
		if r.link.Index == boot.link.Index {
			continue // By another way.
		}
		err := dropAll(r.link)
		// One with a carrier may be the right one, behind a switch port that
		// would block anew.
		carrier, _ := HasCarrier(r.link)
		if err == nil && !r.wasUp && (u.reached || !carrier) {
			err = rtnetlink.SetDown(r.link)
		}
		if err != nil {
			u.opts.Logf("network: put %s down again: %v", r.link.Name, err)
		}
	}
	return nil
}
