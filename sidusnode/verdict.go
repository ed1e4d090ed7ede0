package sidusnode

import "fmt"

// The exit statuses of `sidusnode check`. Of several findings the highest counts.
const (
	statusCurrent = iota // The node runs what the server has.
	statusWaiting        // Another version is current: an update can change to it.
	statusStale          // Files of the tree are stale.
	statusFailed         // The lease is not renewed, or the volume or a server does not answer.
)

// statusUsage is the exit status where the arguments are wrong, or where this machine
// is not a node.
const statusUsage = 64

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
			tried = " and has tried the update once"
		}
		v.add(statusWaiting, "version %s is current, this node runs %s%s: sidusnode update changes to it", n.current, n.Version, tried)
	}
	for _, name := range n.heal.stale {
		v.add(statusStale, "%s is stale: it was replaced in the tree while a program had it open: restart that program, or reboot the node", name)
	}
	if n.heal.due != 0 {
		v.add(statusStale, "the tree was changed: this node looks up the file names again in %s", short(max(n.heal.due-n.now, 0)))
	}
	for _, l := range n.leases {
		switch l.state() {
		case "expired":
			v.add(statusFailed, "the lease of %s on %s expired %s ago: the server may give the address to another node", l.addr, l.device, short(l.age-l.length))
		case "not renewed":
			v.add(statusFailed, "the lease of %s on %s is not renewed: it expires in %s", l.addr, l.device, short(l.length-l.age))
		}
	}
	if n.session != "" && n.session != loggedIn {
		v.add(statusFailed, "the session with %s is %s: writes of this node wait until its target answers", n.Target, n.session)
	}
	if n.found.silent != "" {
		v.add(statusFailed, "no answer about %s: its server or the target of the volume does not answer", n.found.silent)
	}
	for _, t := range n.failures {
		v.add(statusFailed, "%s", t)
	}
	return v
}
