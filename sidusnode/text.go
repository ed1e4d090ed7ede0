package sidusnode

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
)

// The keys of what can be told of a node. They are a contract with those who read
// state.json: keys may be added, none renamed.
const (
	keyUptime  = "uptime_seconds"
	keyCheck   = "check"
	keyStale   = "stale"
	keyLease   = "lease"
	keyEnds    = "lease_ends_seconds"
	keyLayer   = "layer"
	keyFinding = "finding"
)

// listKeys may come several times, numberKeys have numbers.
var (
	listKeys   = []string{keyStale, keyLease, keyEnds, keyLayer, keyFinding}
	numberKeys = []string{keyUptime, keyCheck, keyEnds, "current_seconds_ago", "healed_seconds_ago", "rw_used_bytes", "rw_total_bytes"}
)

// view is all that can be told of a node.
func (n *node) view(v verdict) (r record) {
	seconds := func(key string, d time.Duration) { r.add(key, strconv.FormatInt(int64(d/time.Second), 10)) }
	r.add("sidusboot", n.Product)
	r.add("kernel", n.kernel)
	seconds(keyUptime, n.now)
	r.add("tree", n.Source)
	r.add("nfs_version", n.NFS)
	if n.Version != "" {
		r.add("version", n.Version)
		if n.current != "" {
			r.add("current", n.current)
			seconds("current_seconds_ago", n.now-n.currentAt)
		}
	} else {
		r.add("stamp", n.heal.stamp)
		if n.heal.done != 0 {
			seconds("healed_seconds_ago", n.now-n.heal.done)
		}
	}
	for _, name := range n.heal.stale {
		r.add(keyStale, name)
	}
	for _, l := range n.leases {
		r.add(keyLease, l.addr+" "+l.device+" "+l.state())
		seconds(keyEnds, l.length-l.age)
	}
	if n.Session != "" {
		r.add("lun", n.Target)
		r.add("lun_session", n.session)
	}
	r.add("rw", n.RW)
	if n.Device != "" {
		r.add("rw_device", n.Device)
	}
	if total := n.found.get("total"); total != "" {
		r.add("rw_used_bytes", n.found.get("used"))
		r.add("rw_total_bytes", total)
	}
	r.add("union", n.Union)
	for _, l := range n.layers {
		r.add(keyLayer, l.Dir+" "+l.Type+" "+l.Source)
	}
	r.add(keyCheck, strconv.Itoa(v.status))
	for _, f := range v.findings {
		r.add(keyFinding, f)
	}
	return r
}

// text is a view for people.
func (r record) text() string {
	var b strings.Builder
	for _, p := range r {
		value := p.value
		number, err := strconv.ParseInt(value, 10, 64)
		switch key := p.key; {
		case err != nil:
		case strings.Contains(key, "seconds"):
			value = short(time.Duration(number) * time.Second)
		case strings.HasSuffix(key, "bytes"):
			value = fmt.Sprintf("%d MiB", number>>20)
		}
		name := strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(p.key, "_seconds", ""), "_bytes", ""), "_", " ")
		fmt.Fprintf(&b, "%-12s %s\n", name, value)
	}
	return b.String()
}

// json is a view for programs: an object of texts, numbers and lists.
func (r record) json() string {
	var b strings.Builder
	b.WriteString("{")
	for i, p := range r {
		if len(r[:i].all(p.key)) > 0 {
			continue // It is in the list already.
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n  " + bootlog.Quote(p.key) + ": ")
		var values []string
		for _, value := range r.all(p.key) {
			if !slices.Contains(numberKeys, p.key) {
				value = bootlog.Quote(value)
			}
			values = append(values, value)
		}
		text := strings.Join(values, ", ")
		if slices.Contains(listKeys, p.key) {
			text = "[" + text + "]"
		}
		b.WriteString(text)
	}
	return b.String() + "\n}\n"
}

// state is what the next watch is to know.
func (n *node) state() string {
	r := append(n.heal.record(), n.follow.record()...)
	r.add("current", n.current)
	r.add("current_at", strconv.FormatInt(int64(n.currentAt), 10))
	return r.String()
}

// short is a duration for people, to two units.
func short(d time.Duration) string {
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}
