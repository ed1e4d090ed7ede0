package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/identity"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// writeFiles puts into the union, and into /run, what makes this node differ
// from its neighbours: host name, name servers, fstab without a line for "/".
// All of that is nice to have: what is kept of earlier boots may have anything
// in a file's place, and a node without a name is better than none.
func (n *node) writeFiles() (string, error) {
	n.waitFor("the node's own files to be written to " + rwDir)
	if name := n.lease.Hostname; name != "" && n.has("hostname") {
		n.optional(tree.At(unionDir).Replace("/etc/hostname", []byte(name+"\n")))
	}
	files := tree.Union{Tree: tree.At(unionDir), Lower: tree.At(roDir)}
	n.optional(n.writeResolver())
	n.writeIdentity(files)
	n.optional(n.adviseManagers())
	n.optional(n.writeTime())
	n.optional(n.editFstab(files))
	if n.report.RW.Kind != "tmpfs" {
		n.optional(rwlayer.MakeSpare(rwDir))
	}
	n.awaitIB()
	for _, l := range n.leases() {
		path, text := identity.Klibc(l, clock.Uptime())
		n.optional(os.WriteFile(path, []byte(text), 0o644))
	}
	return n.lease.Hostname, nil
}

// optional says what went wrong with something that is nice to have. The boot
// goes on.
func (n *node) optional(err error) {
	if err != nil {
		n.note("identity: " + err.Error() + ": the node boots without that")
	}
}

// note says something that is to be mended in the tree or on a volume, and leaves
// it in the report.
func (n *node) note(note string) {
	n.log.Errorf("%s", note)
	n.report.AddNote(note)
}

// writeResolver tells the tree the lease's name servers. A resolv.conf that is
// a link belongs to systemd-resolved, which takes a drop-in instead.
func (n *node) writeResolver() error {
	l := n.lease
	if len(l.DNS) == 0 || !n.has("resolver") {
		return nil
	}
	if ownedByResolved() {
		return writeBelow("/", identity.File{Path: "/run/systemd/resolved.conf.d/sidusboot.conf", Text: identity.ResolvedConf(l.DNS, l.SearchDomains())})
	}
	return tree.At(unionDir).Replace("/etc/resolv.conf", []byte(identity.ResolvConf(l.DNS, l.SearchDomains())))
}

// ownedByResolved tells whether the tree's resolv.conf is a link to one of
// systemd-resolved's files. A link of another making (resolvconf,
// NetworkManager) is replaced: who made it may not run, or not know the NIC.
func ownedByResolved() bool {
	target, err := tree.At(unionDir).Readlink("/etc/resolv.conf")
	return err == nil && strings.Contains(target, "systemd/resolve/")
}

// writeTime tells systemd-timesyncd the lease's time servers. Where the tree
// has another daemon the file does nothing.
func (n *node) writeTime() error {
	if len(n.lease.NTP) == 0 || !n.has("ntp") {
		return nil
	}
	return writeBelow("/", identity.File{Path: "/run/systemd/timesyncd.conf.d/sidusboot.conf", Text: identity.TimesyncdConf(n.lease.NTP)})
}

// editFstab comments out the tree's own lines for "/", and reports lines for
// devices that this node does not have, see identity.Fstab.
func (n *node) editFstab(files tree.Union) error {
	nofail := n.cfg.Fstab == config.FstabNoFail
	var absent []string
	err := files.Edit("/etc/fstab", func(old string) (text string) {
		text, absent = identity.Fstab(old, nofail, func(spec string) bool { return rwlayer.Present(spec, "/sys", "/dev") })
		return text
	})
	for _, line := range absent {
		if nofail {
			n.log.Noticef("/etc/fstab, %s: there is no such device so far: it was given nofail", line)
			continue
		}
		n.note(fmt.Sprintf("/etc/fstab, %s: there is no such device so far: if there will be none, systemd waits 90 s and may start an emergency shell: "+
			"remove the line in the tree, give it nofail, or set sidus.fstab=nofail", line))
	}
	return err
}
