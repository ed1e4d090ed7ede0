package main

import (
	"fmt"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nodefiles"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// writeFiles writes to the union and to /run what makes this node differ from the
// others. None of it is necessary for the boot.
func (n *node) writeFiles() (string, error) {
	n.waitFor("the node's own files to be written to " + rwDir)
	files, err := n.nodeFiles()
	n.optional(err)
	absent, errs := files.Write(unionDir, roDir)
	for _, err := range errs {
		n.optional(err)
	}
	n.reportAbsent(absent)
	if n.report.RW.Kind != "tmpfs" {
		n.optional(rwlayer.MakeSpare(rwDir))
	}
	n.awaitIB()
	for _, err := range files.WriteKlibc(clock.Uptime()) {
		n.optional(err)
	}
	return n.lease.Hostname, nil
}

// nodeFiles are what the parameters and the leases say of the node. With an error
// one of them is left out.
func (n *node) nodeFiles() (*nodefiles.Node, error) {
	files := &nodefiles.Node{
		Machine: n.machine(), Leases: n.leases(), TreeOwnsLeases: n.cfg.LeaseOwner == config.OwnerTree,
		Omit: n.cfg.IdentityOff, NoFail: n.cfg.Fstab == config.FstabNoFail, Init: n.cfg.Init,
	}
	for _, ib := range n.cfg.IBs {
		files.Untouched = append(files.Untouched, ib.Device)
	}
	if !tree.At(unionDir).IsDir("/etc/iscsi") {
		return files, nil // Nobody would read the name.
	}
	if n.lun != nil {
		files.Initiator, files.HasSession = n.lun.Target.Initiator, true
		return files, nil
	}
	var err error
	if files.Initiator, err = n.initiator(); err != nil {
		return files, fmt.Errorf("%w: the tree's own name is kept", err)
	}
	return files, nil
}

// leases are the node's own, the one that leads to the root first.
func (n *node) leases() []*network.Lease {
	return append([]*network.Lease{n.lease}, n.others...)
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

// reportAbsent reports the lines of fstab that are for devices that do not exist.
func (n *node) reportAbsent(lines []string) {
	for _, line := range lines {
		if n.cfg.Fstab == config.FstabNoFail {
			n.log.Noticef("/etc/fstab, %s: the device does not exist yet: nofail was added", line)
			continue
		}
		n.note(fmt.Sprintf("/etc/fstab, %s: the device does not exist yet: if it does not appear, systemd waits 90 s and may start an emergency shell: "+
			"remove the line in the tree, add nofail to it, or set sidus.fstab=nofail", line))
	}
}
