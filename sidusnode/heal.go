package sidusnode

import (
	"strconv"
	"time"
)

// A heal is what has been done, and is to be done, about a plain tree that
// changes while the node runs. Times are since the machine started; 0 is never.
//
// The server's administrator renews a stamp in the tree. A node that sees a new
// one lets its kernel forget what it remembers of names in the union and in the tree below,
// and looks them up again. It does so once more when no attribute that the client
// or the server has kept can be from before the change. What is still stale then
// is held open by a program that runs.
type heal struct {
	// stamp is the last one seen.
	stamp string
	// due and again are when to do it, done is when it was done last.
	due, again, done time.Duration
	// stale are the names that could not be healed, as far as they were looked at.
	stale []string
}

// An action is what a probe leads to.
type action struct {
	// forget lets the kernel forget what it remembers of the tree.
	forget bool
	// names: open the essential files.
	names bool
}

// serverTime is what a server may keep attributes for before it sees a change:
// nfs-ganesha's default (Attr_Expiration_Time) and some more.
const serverTime = 65 * time.Second

// next takes a stamp that was seen at now, and tells what to do at once. attrs is
// how long the client keeps attributes.
func (h *heal) next(now time.Duration, stamp string, wait, attrs time.Duration) (a action) {
	switch {
	case stamp == "": // The probe failed.
	case h.stamp == "":
		h.stamp = stamp
	case stamp != h.stamp:
		h.stamp, h.due, h.again = stamp, now+wait, 0
	}
	if h.due != 0 && now >= h.due {
		h.due, h.again, h.done = 0, now+attrs+serverTime, now
		a.forget = true
	} else if h.again != 0 && now >= h.again {
		h.again, h.done = 0, now
		a = action{forget: true, names: true}
	}
	// A program that held a name may have ended meanwhile.
	a.names = a.names || len(h.stale) > 0
	return a
}

// delay spreads the nodes of a site over a time.
func delay(slot uint32, over time.Duration) time.Duration {
	const parts = 1 << 16
	return over / parts * time.Duration(slot%parts)
}

var timeKeys = [...]string{"due", "again", "done"}

func (h *heal) record() (r record) {
	r.add("stamp", h.stamp)
	for i, d := range []time.Duration{h.due, h.again, h.done} {
		r.add(timeKeys[i], strconv.FormatInt(int64(d), 10))
	}
	for _, name := range h.stale {
		r.add("stale", name)
	}
	return r
}

func parseHeal(r record) heal {
	return heal{
		stamp: r.get("stamp"), due: time.Duration(r.number("due")), again: time.Duration(r.number("again")),
		done: time.Duration(r.number("done")), stale: r.all("stale"),
	}
}
