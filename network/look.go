package network

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

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
		for _, l := range all {
			// A card may have several ports with one driver.
			if !w.several() && u.sent(w) {
				break
			}
			if !u.named(l.Attrs()) || !w.fits(l, u.opts.Sysfs) {
				continue
			}
			if !w.several() || !u.running(l) && !slices.Contains(u.plan.Leave, l.Attrs().Name) {
				u.send(ctx, w, l)
			}
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
	// What stands on a card that is to have another name would stand on the
	// wrong one.
	var named []netlink.Link
	refresh := func() {
		if err == nil {
			*all, err = links()
		}
		named = slices.DeleteFunc(slices.Clone(*all), func(l netlink.Link) bool { return !u.named(l.Attrs()) })
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
