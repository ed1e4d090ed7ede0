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

// writeFiles writes to the union and to /run what makes this node differ from the
// others: host name, name servers, fstab without a line for "/". None of it is
// necessary for the boot: a layer that is kept may have anything in a file's place,
// and a node that runs without its name can be repaired.
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

// optional reports an error of something without which the boot goes on.
func (n *node) optional(err error) {
	if err != nil {
		n.note("identity: " + err.Error() + ": the node boots without it")
	}
}

// note logs what the administrator should correct in the tree or on a volume, and
// adds it to the report.
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
// systemd-resolved's files. A link that another program made (resolvconf,
// NetworkManager) is replaced: that program may not run, or not know the NIC.
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
			n.log.Noticef("/etc/fstab, %s: the device does not exist yet: nofail was added", line)
			continue
		}
		n.note(fmt.Sprintf("/etc/fstab, %s: the device does not exist yet: if it does not appear, systemd waits 90 s and may start an emergency shell: "+
			"remove the line in the tree, add nofail to it, or set sidus.fstab=nofail", line))
	}
	return err
}
