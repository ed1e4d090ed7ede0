package network

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// look sees which devices are there by now, makes what is to be made of them
// and sends off those that are wanted.
func (u *ascent) look(ctx context.Context) error {
	if u.wantsDrivers() {
		u.opts.Rescan()
		u.rescanned = time.Now()
	}
	all, err := links()
	if err != nil {
		return err
	}
	if err := u.nameByPlace(all); err != nil {
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
		for _, l := range all {
			// A card may have several ports with one driver.
			if !w.several() && u.sent(w) {
				break
			}
			if !u.named(l) || !w.fits(l, u.opts.Sysfs) {
				continue
			}
			if !w.several() || !u.running(w, l) && !slices.Contains(u.plan.Leave, l.Name) {
				u.send(ctx, w, l)
			}
		}
	}
	u.sayWaiting()
	return nil
}

// named tells whether a device has its name for good: not one that another
// card is to have.
func (u *ascent) named(a *rtnetlink.Link) bool {
	for _, r := range u.plan.Renames {
		if r.Name == a.Name && r.MAC.String() != permanent(a).String() {
			return false
		}
	}
	return !strings.HasPrefix(a.Name, temporary)
}

// build names the cards and makes bonds and VLANs, as far as what they are made
// of is there.
func (u *ascent) build(all *[]*rtnetlink.Link) (err error) {
	if u.built || len(u.plan.Renames)+len(u.plan.Bonds)+len(u.plan.VLANs) == 0 {
		return nil
	}
	// What stands on a card that is to have another name would stand on the
	// wrong one.
	var named []*rtnetlink.Link
	refresh := func() {
		if err == nil {
			*all, err = links()
		}
		named = slices.DeleteFunc(slices.Clone(*all), func(l *rtnetlink.Link) bool { return !u.named(l) })
	}
	if err := rename(u.plan.Renames, *all); err != nil {
		return err
	}
	complete := !slices.ContainsFunc(u.plan.Renames, func(r Rename) bool {
		return find(*all, func(a *rtnetlink.Link) bool { return a.Name == r.Name }) == nil
	})
	for i := range u.plan.Bonds {
		refresh()
		if err != nil {
			return err
		}
		missing, err := u.plan.Bonds[i].build(u.opts.Sysfs, named)
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
		missing, err := u.plan.VLANs[i].build(named)
		if err != nil {
			return err
		}
		complete = complete && !missing
	}
	u.built = complete
	refresh()
	return err
}

// sendAny sends off the first NICs, and when those had their moment, all others.
func (u *ascent) sendAny(ctx context.Context, w *Way, all []*rtnetlink.Link) {
	first, rest := u.order(all)
	for _, l := range first {
		if !u.running(w, l) {
			u.send(ctx, w, l)
		}
	}
	if u.opts.Wide {
		u.widened = true
	}
	if !u.widened && len(rest) > 0 && u.hadMoment(first) {
		u.widened = true
		u.opts.Logf("network: no address by way of %s so far: trying %s as well", namesOf(first, u.opts.First), namesOf(rest, ""))
	}
	if !u.widened {
		return
	}
	for _, l := range rest {
		if !u.running(w, l) {
			u.send(ctx, w, l)
		}
	}
}

// order are the NICs that come first where any would do, and the others.
func (u *ascent) order(all []*rtnetlink.Link) (first, rest []*rtnetlink.Link) {
	var byName, others []*rtnetlink.Link
	for _, l := range all {
		switch {
		case !wired(l, u.opts.Sysfs) || slices.Contains(u.plan.Leave, l.Name) || !u.named(l):
		case u.guessed(l):
			first = append(first, l)
		case l.Name == u.opts.First:
			byName = append(byName, l)
		default:
			others = append(others, l)
		}
	}
	rest = slices.Concat(byName, others)
	if len(first) > 0 {
		return first, rest
	}
	if u.anyFrom.IsZero() && time.Since(u.start) > guessAbsent {
		u.anyFrom = time.Now()
		if len(rest) > 0 {
			u.opts.Logf("network: no NIC has %s, from which the firmware says it booted (BOOTIF=), only %s: any will do", u.opts.Guess, namesOf(rest, ""))
		}
	}
	if u.anyFrom.IsZero() {
		return nil, rest
	}
	return byName, others
}

// guessed tells whether it is the NIC that the firmware booted from.
func (u *ascent) guessed(a *rtnetlink.Link) bool {
	return u.opts.Guess != nil && (bytes.Equal(a.HardwareAddr, u.opts.Guess) || bytes.Equal(permanent(a), u.opts.Guess))
}

// hadMoment tells whether the NICs that come first have had the time that they
// have to themselves.
func (u *ascent) hadMoment(first []*rtnetlink.Link) bool {
	if len(first) == 0 {
		return !u.anyFrom.IsZero() && time.Since(u.anyFrom) > aloneAbsent
	}
	since, down, silent := time.Since(u.anyFrom), aloneDown, aloneSilent
	if u.guessed(first[0]) {
		since, down, silent = time.Since(u.start), guessDown, guessSilent
	}
	ended := func(l *rtnetlink.Link) bool {
		return slices.ContainsFunc(u.runners, func(r *runner) bool { return r.done && r.link.Index == l.Index })
	}
	if !slices.ContainsFunc(first, func(l *rtnetlink.Link) bool { return !ended(l) }) {
		return true
	}
	if slices.ContainsFunc(first, func(l *rtnetlink.Link) bool { return hasCarrier(l) }) {
		return since > silent
	}
	return since > down
}

// namesOf are the names of links, or what is said where there is none.
func namesOf(all []*rtnetlink.Link, none string) string {
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, ", ")
}

// running tells whether a NIC was sent off by a way.
func (u *ascent) running(w *Way, l *rtnetlink.Link) bool {
	return slices.ContainsFunc(u.runners, func(r *runner) bool { return r.way == w && r.link.Index == l.Index })
}

// wantsDrivers tells whether drivers are to be looked for again: a NIC that was
// named is not there, or the one that the firmware booted from, or nothing came
// of those that are there for a while. The right one may be behind USB.
func (u *ascent) wantsDrivers() bool {
	switch since := time.Since(u.rescanned); {
	case since < rescanIdle:
		return false
	case len(u.runners) == 0:
		return true
	case since < rescanBusy:
		return false
	case u.opts.Wide:
		return true
	}
	for i := range u.plan.Ways {
		if w := &u.plan.Ways[i]; !u.sent(w) {
			return true
		}
	}
	if !slices.ContainsFunc(u.plan.Ways, func(w Way) bool { return w.any() }) {
		return false
	}
	since := time.Since(u.anyFrom)
	if u.anyFrom.IsZero() {
		since = time.Since(u.start)
	}
	return since > aloneSilent || since > aloneDown && !slices.ContainsFunc(u.runners, (*runner).asks)
}

// sayWaiting tells what is waited for.
func (u *ascent) sayWaiting() {
	var what []string
	for _, r := range u.runners {
		if r.done {
			continue
		}
		name := r.link.Name
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
