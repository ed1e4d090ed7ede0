package network

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// scan lists the devices that there are by now, makes bonds and VLANs of them and
// starts those that the plan asks for.
func (a *attempt) scan(ctx context.Context) error {
	if a.wantsDrivers() {
		a.opts.Rescan()
		a.rescanned = time.Now()
	}
	all, err := links()
	if err != nil {
		return err
	}
	if err := a.nameByPlace(all); err != nil {
		return err
	}
	if err := a.build(&all); err != nil {
		return err
	}
	for i := range a.plan.Interfaces {
		w := &a.plan.Interfaces[i]
		if w.isAny() {
			a.startAny(ctx, w, all)
			continue
		}
		for _, l := range all {
			// A card may have several ports with one driver.
			if !w.mayBeSeveral() && a.started(w) {
				break
			}
			if !a.hasFinalName(l) || !w.matches(l, a.opts.Sysfs) {
				continue
			}
			if !w.mayBeSeveral() || !a.isCandidate(w, l) && !slices.Contains(a.plan.Ignore, l.Name) {
				a.start(ctx, w, l)
			}
		}
	}
	a.reportWaiting()
	return nil
}

// hasFinalName tells whether a device will keep its name: not one that another
// card is to have.
func (a *attempt) hasFinalName(l *rtnetlink.Link) bool {
	for _, r := range a.plan.Renames {
		if r.Name == l.Name && r.MAC.String() != permanentAddr(l).String() {
			return false
		}
	}
	return !strings.HasPrefix(l.Name, temporary)
}

// build names the cards and makes bonds and VLANs, as far as what they are made
// of is there.
func (a *attempt) build(all *[]*rtnetlink.Link) (err error) {
	if a.built || len(a.plan.Renames)+len(a.plan.Bonds)+len(a.plan.VLANs) == 0 {
		return nil
	}
	// A bond or VLAN on a card that is going to be renamed would be on the wrong
	// one.
	var named []*rtnetlink.Link
	refresh := func() {
		if err == nil {
			*all, err = links()
		}
		named = slices.DeleteFunc(slices.Clone(*all), func(l *rtnetlink.Link) bool { return !a.hasFinalName(l) })
	}
	if err := rename(a.plan.Renames, *all); err != nil {
		return err
	}
	complete := !slices.ContainsFunc(a.plan.Renames, func(r Rename) bool {
		return findLink(*all, func(a *rtnetlink.Link) bool { return a.Name == r.Name }) == nil
	})
	for i := range a.plan.Bonds {
		refresh()
		if err != nil {
			return err
		}
		missing, err := a.plan.Bonds[i].build(a.opts.Sysfs, named)
		if err != nil {
			return err
		}
		complete = complete && len(missing) == 0
	}
	for i := range a.plan.VLANs {
		refresh()
		if err != nil {
			return err
		}
		missing, err := a.plan.VLANs[i].build(named)
		if err != nil {
			return err
		}
		complete = complete && !missing
	}
	a.built = complete
	refresh()
	return err
}

// startAny starts the NICs that come first, and after their time all others.
func (a *attempt) startAny(ctx context.Context, w *Interface, all []*rtnetlink.Link) {
	first, rest := a.byPreference(all)
	for _, l := range first {
		if !a.isCandidate(w, l) {
			a.start(ctx, w, l)
		}
	}
	if a.opts.TryAll {
		a.triesAll = true
	}
	if !a.triesAll && len(rest) > 0 && a.hadItsTime(first) {
		a.triesAll = true
		a.opts.Logf("network: no address on %s so far: trying %s as well", namesOf(first, a.opts.Preferred), namesOf(rest, ""))
	}
	if !a.triesAll {
		return
	}
	for _, l := range rest {
		if !a.isCandidate(w, l) {
			a.start(ctx, w, l)
		}
	}
}

// byPreference are the NICs that come first where any may be used, and the others.
func (a *attempt) byPreference(all []*rtnetlink.Link) (first, rest []*rtnetlink.Link) {
	var byName, others []*rtnetlink.Link
	for _, l := range all {
		switch {
		case !isWired(l, a.opts.Sysfs) || slices.Contains(a.plan.Ignore, l.Name) || !a.hasFinalName(l):
		case a.isBootNIC(l):
			first = append(first, l)
		case l.Name == a.opts.Preferred:
			byName = append(byName, l)
		default:
			others = append(others, l)
		}
	}
	rest = slices.Concat(byName, others)
	if len(first) > 0 {
		return first, rest
	}
	if a.anyFrom.IsZero() && time.Since(a.begun) > bootNICAbsent {
		a.anyFrom = time.Now()
		if len(rest) > 0 {
			a.opts.Logf("network: no NIC has the MAC %s, which the firmware booted from (BOOTIF=), only %s: any NIC is used", a.opts.BootMAC, namesOf(rest, ""))
		}
	}
	if a.anyFrom.IsZero() {
		return nil, rest
	}
	return byName, others
}

// isBootNIC tells whether it is the NIC that the firmware booted from.
func (a *attempt) isBootNIC(l *rtnetlink.Link) bool {
	return a.opts.BootMAC != nil && (bytes.Equal(l.HardwareAddr, a.opts.BootMAC) || bytes.Equal(permanentAddr(l), a.opts.BootMAC))
}

// hadItsTime tells whether the time is over in which only the NICs that come first
// are tried.
func (a *attempt) hadItsTime(first []*rtnetlink.Link) bool {
	if len(first) == 0 {
		return !a.anyFrom.IsZero() && time.Since(a.anyFrom) > aloneAbsent
	}
	since, down, silent := time.Since(a.anyFrom), aloneDown, aloneSilent
	if a.isBootNIC(first[0]) {
		since, down, silent = time.Since(a.begun), bootNICDown, bootNICSilent
	}
	ended := func(l *rtnetlink.Link) bool {
		return slices.ContainsFunc(a.candidates, func(r *candidate) bool { return r.done && r.link.Index == l.Index })
	}
	if !slices.ContainsFunc(first, func(l *rtnetlink.Link) bool { return !ended(l) }) {
		return true
	}
	if slices.ContainsFunc(first, func(l *rtnetlink.Link) bool { return linkHasCarrier(l) }) {
		return since > silent
	}
	return since > down
}

// namesOf are the names of links, or none where there are no links.
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

// isCandidate tells whether a NIC was started for an interface.
func (a *attempt) isCandidate(w *Interface, l *rtnetlink.Link) bool {
	return slices.ContainsFunc(a.candidates, func(r *candidate) bool { return r.iface == w && r.link.Index == l.Index })
}

// wantsDrivers tells whether to look for drivers again: a NIC that was named is not
// there, or the one that the firmware booted from, or those that are there have not
// led to the server for a while. The right one may be connected by USB.
func (a *attempt) wantsDrivers() bool {
	switch since := time.Since(a.rescanned); {
	case since < rescanIdle:
		return false
	case len(a.candidates) == 0:
		return true
	case since < rescanBusy:
		return false
	case a.opts.TryAll:
		return true
	}
	for i := range a.plan.Interfaces {
		if w := &a.plan.Interfaces[i]; !a.started(w) {
			return true
		}
	}
	if !slices.ContainsFunc(a.plan.Interfaces, func(w Interface) bool { return w.isAny() }) {
		return false
	}
	since := time.Since(a.anyFrom)
	if a.anyFrom.IsZero() {
		since = time.Since(a.begun)
	}
	return since > aloneSilent || since > aloneDown && !slices.ContainsFunc(a.candidates, (*candidate).mayLead)
}

// reportWaiting reports what is waited for.
func (a *attempt) reportWaiting() {
	var what []string
	for _, r := range a.candidates {
		if r.done {
			continue
		}
		name := r.link.Name
		switch ok, err := hasCarrier(r.link); {
		case err != nil || !ok:
			what = append(what, "the link of "+name)
		case r.iface.Method == MethodDHCP:
			what = append(what, "an answer from DHCP on "+name)
		default:
			what = append(what, "the address of "+name)
		}
	}
	if len(what) == 0 {
		for i := range a.plan.Interfaces {
			what = append(what, "the NIC "+a.plan.Interfaces[i].String())
		}
	}
	if text := strings.Join(what, " and "); text != a.waitingFor {
		a.waitingFor = text
		a.opts.WaitFor(text)
	}
}
