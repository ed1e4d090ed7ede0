package sidusnode

import (
	"fmt"
	"strconv"
	"strings"
)

// text is the node for people.
func (n *node) text(v verdict) string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s%s\n", name, fmt.Sprintf(format, args...))
	}
	row("node", "sidusboot %s, kernel %s, up %s", n.Product, n.kernel, short(n.now))
	row("tree", "%s, NFS %s", n.Source, n.NFS)
	switch {
	case n.Version != "" && n.current == "":
		row("version", "%s", n.Version)
	case n.Version != "":
		row("version", "%s, current is %s (asked %s ago)", n.Version, n.current, short(n.now-n.currentAt))
	case n.heal.done != 0:
		row("version", "a plain tree, looked at anew %s ago", short(n.now-n.heal.done))
	default:
		row("version", "a plain tree")
	}
	for _, l := range n.leases {
		from := ""
		if l.server != "" {
			from = " from " + l.server
		}
		row("lease", "%s on %s%s: %s, renewed %s ago, ends in %s", l.addr, l.device, from, l.state(), short(l.age), short(max(l.length-l.age, 0)))
	}
	if n.Session != "" {
		row("LUN", "%s, %s, %s", n.Device, n.Target, n.session)
	}
	full := "not known"
	if total := n.found.number("total"); total > 0 {
		used := n.found.number("used")
		full = fmt.Sprintf("%d of %d MiB used (%d %%)", used>>20, total>>20, used*100/total)
	}
	row("rw", "%s: %s", n.RW, full)
	for _, l := range n.layers {
		row("layer", "%-4s %s %s", l.dir, l.kind, l.source)
	}
	row("check", "%d", v.status)
	for _, f := range v.findings {
		row("", "%s", f)
	}
	return b.String()
}

// json is the node for programs: /run/sidusboot/state.json. Its names are a
// contract: fields may be added, none renamed.
func (n *node) json(v verdict) string {
	o := newObject("")
	o.text("sidusboot", n.Product)
	o.text("kernel", n.kernel)
	o.seconds("uptime", n.now.Seconds())
	o.number("check", int64(v.status))
	o.texts("findings", v.findings)
	o.object("tree", func(o *jsonObject) {
		o.text("source", n.Source)
		o.text("nfs_version", n.NFS)
		if n.Version != "" {
			o.text("version", n.Version)
			o.text("current", n.current)
			o.seconds("current_at", n.currentAt.Seconds())
		} else {
			o.text("stamp", n.heal.stamp)
			o.seconds("healed_at", n.heal.done.Seconds())
		}
		o.texts("stale", n.heal.stale)
	})
	leases := make([]string, len(n.leases))
	for i, l := range n.leases {
		one := newObject("    ")
		one.text("device", l.device)
		one.text("address", l.addr)
		one.text("server", l.server)
		one.text("state", l.state())
		one.seconds("renewed_at", (n.now - l.age).Seconds())
		one.seconds("ends_at", (n.now - l.age + l.length).Seconds())
		leases[i] = one.String()
	}
	o.raw("leases", "["+strings.Join(leases, ", ")+"]")
	if n.Session != "" {
		o.object("lun", func(o *jsonObject) {
			o.text("device", n.Device)
			o.text("target", n.Target)
			o.text("session", n.session)
		})
	}
	o.object("rw", func(o *jsonObject) {
		o.text("kind", n.RW)
		o.number("total_bytes", n.found.number("total"))
		o.number("used_bytes", n.found.number("used"))
	})
	o.text("union", n.Union)
	return o.String() + "\n"
}

// state is what the next look is to know.
func (n *node) state() string {
	r := n.heal.record()
	r.add("current", n.current)
	r.add("current_at", strconv.FormatInt(int64(n.currentAt), 10))
	return r.String()
}
