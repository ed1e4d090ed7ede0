//go:build qemu

package qemutests

import (
	"regexp"
	"testing"
	"time"
)

// endingTime is what a node may take to end while its target is gone.
const endingTime = 60 * time.Second

// ending boots a node with systemd on its LUN, which writes.
func (s *site) ending(target LUN) (*Guest, *Server) {
	s.t.Helper()
	server := s.tgt(target)
	g := s.boot(s.root("vers=3 ")+smallParams+" sidus.rw=iscsi sidus.iscsi.lun=1 sidus.mkfs=blank", GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if _, err := failedUnits(g, s.t); err != nil {
		s.t.Fatal(err)
	}
	s.run(g, writer)
	return g, server
}

// TestEndWithoutTarget takes the target away from a node that writes and switches
// it off: it goes on trying, gives the volume up loudly and ends in time. Every
// record that was acknowledged is on the volume.
func TestEndWithoutTarget(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 64<<20)
	g, target := s.ending(LUN{Target: nodeTarget, File: file})
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	s.keeperSays(g, "trying again")
	last := s.run(g, "cat /run/acknowledged")
	s.shutsDownWithin(g, "poweroff", PoweredOff, endingTime)
	s.keeperSays(g, "poweroff was ordered, but the target of the node's volume does not answer")
	s.keeperSays(g, "the volume is given up so that the node can poweroff: WHAT WAS NOT WRITTEN TO IT YET IS LOST")
	checkVolume(t, host)
	hasRecords(t, host, last)
}

// TestEndTargetBack is the same with a target that is back 8 s after the order:
// the node logs in again and ends as if nothing had been.
func TestEndTargetBack(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 64<<20)
	lun := LUN{Target: nodeTarget, File: file}
	g, target := s.ending(lun)
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	s.keeperSays(g, "trying again")
	last := s.run(g, "cat /run/acknowledged")
	const order = "the test says poweroff"
	s.orders(g, order, "poweroff")
	s.keeperSays(g, "poweroff was ordered, but the target of the node's volume does not answer")
	time.Sleep(8 * time.Second) // The target is away for a part of the 20 s in which the keeper goes on trying.
	s.tgt(lun)
	s.keeperSays(g, "logged in again after")
	s.ends(g, PoweredOff)
	s.stopped(g, order, endingTime)
	s.silentAfter(g, "Run /init", "given up")
	clean(t, host)
	hasRecords(t, host, last)
}

// TestEndWithoutServers takes target and NFS server away at once, waits until
// nothing is cached any more, and presses Ctrl-Alt-Del, which needs no program.
// PID 1 gets nowhere, as it has nothing to run, so the keeper reboots the node.
func TestEndWithoutServers(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.image = s.build(lunProfile)
	nfs := s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Router: ServerAddr})
	host, file := s.volume("lun", 64<<20)
	g, target := s.ending(LUN{Target: nodeTarget, File: file})
	last := s.run(g, "cat /run/acknowledged")
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := nfs.Kill(); err != nil {
		t.Fatal(err)
	}
	// Attributes of directories are believed for 60 s (acdirmax).
	s.rest(65 * time.Second)
	const order = "the test says reboot"
	// Of the shell's own means: it could not run a program.
	if err := g.Type("echo '<3>sidusboot: " + order + "' >/dev/kmsg; kill -INT 1"); err != nil {
		t.Fatal(err)
	}
	s.ends(g, Rebooted)
	s.stopped(g, order, endingTime)
	s.keeperSays(g, regexp.QuoteMeta("the shutdown has not finished in time: reboot now"))
	checkVolume(t, host)
	hasRecords(t, host, last)
}
