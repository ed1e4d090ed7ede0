package sidusnode

import "fmt"

// The exit statuses of `sidusnode check`. Of several findings the highest counts.
const (
	Current = iota // The node runs what the server has.
	Waiting        // Another version is current, and waits for an update.
	Stale          // Files of the tree are stale.
	Failed         // The lease is not renewed, or the volume or a server does not answer.
)

// Usage is the exit status of a call that makes no sense, or of a machine that is
// no node.
const Usage = 64

// A verdict is the result of a check.
type verdict struct {
	status int
	// findings are a line each, the worst not necessarily first.
	findings []string
}

func (v *verdict) add(status int, format string, args ...any) {
	v.status = max(v.status, status)
	v.findings = append(v.findings, fmt.Sprintf(format, args...))
}

// judge makes a verdict of what is known.
func judge(n *node) (v verdict) {
	if n.Version != "" && n.current != "" && n.current != n.Version && !n.Pinned {
		tried := ""
		if n.follow.tried == n.current {
			tried = ", and does not try again by itself"
		}
		v.add(Waiting, "version %s is current, this node runs %s%s: sidusnode update changes to it", n.current, n.Version, tried)
	}
	for _, name := range n.heal.stale {
		v.add(Stale, "%s is stale: it was replaced in the tree while a program had it open: restart that program, or reboot the node", name)
	}
	if n.heal.due != 0 {
		v.add(Stale, "the tree was changed: this node looks its names up again in %s", short(max(n.heal.due-n.now, 0)))
	}
	for _, l := range n.leases {
		switch l.state() {
		case "expired":
			v.add(Failed, "the lease of %s on %s ran out %s ago: the server may give the address to another node", l.addr, l.device, short(l.age-l.length))
		case "not renewed":
			v.add(Failed, "the lease of %s on %s is not renewed: it runs out in %s", l.addr, l.device, short(l.length-l.age))
		}
	}
	if n.session != "" && n.session != loggedIn {
		v.add(Failed, "the session with %s is %s: what this node writes waits for its target", n.Target, n.session)
	}
	if n.found.silent != "" {
		v.add(Failed, "no answer about %s: its server or the target of the volume does not answer", n.found.silent)
	}
	for _, t := range n.failures {
		v.add(Failed, "%s", t)
	}
	return v
}
