package nodefiles

import (
	"strings"

	"github.com/sidusboot/sidusboot/identity"
	"github.com/sidusboot/sidusboot/tree"
)

// writeResolver tells the tree the lease's name servers. A resolv.conf that is
// a link belongs to systemd-resolved, which takes a drop-in instead.
func (n *Node) writeResolver(files tree.Union) error {
	l := n.Leases[0]
	if len(l.DNS) == 0 || !n.has("resolver") {
		return nil
	}
	if ownedByResolved(files.Tree) {
		return writeBelow("/", identity.File{Path: "/run/systemd/resolved.conf.d/sidusboot.conf", Text: identity.ResolvedConf(l.DNS, l.SearchDomains())})
	}
	return files.Replace("/etc/resolv.conf", []byte(identity.ResolvConf(l.DNS, l.SearchDomains())))
}

// ownedByResolved tells whether the tree's resolv.conf is a link to one of
// systemd-resolved's files. A link that another program made (resolvconf,
// NetworkManager) is replaced: that program may not run, or not know the NIC.
func ownedByResolved(t tree.Tree) bool {
	target, err := t.Readlink("/etc/resolv.conf")
	return err == nil && strings.Contains(target, "systemd/resolve/")
}

// writeTime tells systemd-timesyncd the lease's time servers. Where the tree
// has another daemon the file does nothing.
func (n *Node) writeTime() error {
	servers := n.Leases[0].NTP
	if len(servers) == 0 || !n.has("ntp") {
		return nil
	}
	return writeBelow("/", identity.File{Path: "/run/systemd/timesyncd.conf.d/sidusboot.conf", Text: identity.TimesyncdConf(servers)})
}
