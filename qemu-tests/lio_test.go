//go:build qemu

package qemutests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The accounts of the tests with LIO.
const (
	nodeUser, nodePassword = "node", "a-secret-of-16-b"
	lioUser, lioPassword   = "lio", "another-of-16-by"
	mutualWords            = " sidus.iscsi.user=" + nodeUser + " sidus.iscsi.password=" + nodePassword +
		" sidus.iscsi.user_in=" + lioUser + " sidus.iscsi.password_in=" + lioPassword + " "
)

// mutual is a LUN for which both ends prove themselves.
func mutual(target, file string, sector int) LUN {
	return LUN{Target: target, File: file, BlockSize: sector, User: nodeUser, Password: nodePassword, UserIn: lioUser, PasswordIn: lioPassword}
}

// lio boots a LIO server for the site, beside which there is a place for one
// node at a time.
func (s *site) lio(luns ...LUN) *LIO {
	s.t.Helper()
	server, err := s.StartLIO(s.ctx, LIOOptions{Tree: s.tree, Kernel: s.kernel, Initrd: s.image}, luns)
	if err != nil {
		s.t.Fatal(err)
	}
	return server
}

const lioPortal = " sidus.iscsi.portal=" + LIOAddr + " "

// noSessions checks that no initiator is logged in to a target any more.
func (s *site) noSessions(l *LIO, target string) {
	s.t.Helper()
	if who, err := l.Sessions(s.ctx, target); err != nil || len(who) > 0 {
		s.t.Errorf("%s still has sessions of %q, %v", target, who, err)
	}
}

// TestLIO is the life of a volume on the kernel's own target, with 4096-byte
// sectors and mutual CHAP by SHA-256: it is made and found again at two more
// boots; while the node writes, the portal refuses for a while; the node logs
// out and gives its reservation back at reboot, in a soak at poweroff as well; it
// is cut off from its power once, in a soak three times.
func TestLIO(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 64<<20)
	server := s.lio(mutual(nodeTarget, file, 4096))
	params := lioPortal + mutualWords + "sidus.iscsi.chap=sha256 sidus.rw=iscsi sidus.iscsi.lun=1 sidus.mkfs=blank " + EventParam + " "
	whole, probe := s.root("vers=3 ")+AgentParam+params, s.root("vers=3 ")+params+"init="+AgentInit
	node := GuestOptions{NICs: []NIC{{MAC: MAC(1)}}}

	g := s.boot(whole, node)
	if _, err := failedUnits(g, t); err != nil {
		t.Fatal(err)
	}
	if r := s.report(g); !r.RW.Made || r.RW.Filesystem != "ext4" || r.Profile != "virtual,iscsi" {
		t.Errorf("rw %+v, profile %s", r.RW, r.Profile)
	}
	s.same(g, []answer{{"cat /sys/block/sda/queue/logical_block_size", "4096"}})
	s.run(g, writer)
	enable := func(on bool) {
		t.Helper()
		if err := server.Enable(s.ctx, nodeTarget, on); err != nil {
			t.Fatal(err)
		}
	}
	enable(false)
	s.keeperSays(g, "status 0301")
	s.rest(30 * time.Second)
	enable(true)
	s.goesOn(g)
	s.shutsDown(g, "reboot", Rebooted)
	s.noSessions(server, nodeTarget)
	s.nothingReserved(server, 0)
	clean(t, host)

	again := probe
	if Soaking() {
		again = whole
	}
	g = s.boot(again, node)
	if r := s.report(g); r.RW.Made {
		t.Errorf("the second boot made the file system again: %+v", r.RW)
	}
	last := s.run(g, "wc -l </records")
	if Soaking() {
		s.shutsDown(g, "poweroff", PoweredOff)
		s.noSessions(server, nodeTarget)
		s.nothingReserved(server, 0)
		clean(t, host)
	} else {
		last = s.cutOff(g, last)
	}

	for range 3 {
		if !Soaking() {
			break
		}
		g = s.boot(probe+" quiet", node)
		last = s.cutOff(g, last)
	}
	g = s.boot(probe, node)
	s.has(g, last)
	g.Kill()
	checkVolume(t, host)
}

// TestLIOOutage takes LIO away from a node that writes: by pulling the node's
// cable; by killing the server, which comes back 90 s later without a memory of
// who held the volume; and at last for good, when the node is switched off. No
// record that was acknowledged is lost.
func TestLIOOutage(t *testing.T) {
	t.Parallel()
	Soak(t) // Outages of tgt are in TestOutage.
	s := newVolumeSite(t)
	host, file := s.volume("lun", 64<<20)
	lun := mutual(nodeTarget, file, 0)
	server := s.lio(lun)
	g := s.boot(s.root("vers=3 ")+smallParams+lioPortal+mutualWords+"sidus.rw=iscsi sidus.iscsi.lun=1 sidus.mkfs=blank",
		GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if _, err := failedUnits(g, t); err != nil {
		t.Fatal(err)
	}
	cable := func(up bool) {
		t.Helper()
		if err := g.SetLink(s.ctx, 0, up); err != nil {
			t.Fatal(err)
		}
	}
	s.run(g, writer)
	cable(false)
	s.rest(outage)
	cable(true)
	s.goesOn(g)

	s.run(g, writer)
	server.Kill()
	s.rest(outage)
	server = s.lio(lun)
	s.goesOn(g)
	// The keeper reserves concurrently with the boot.
	s.run(server.Guest, "until grep -q "+nodeInitiator(MAC(1))+" "+lioDisks+"/lun0/pr/res_holder; do sleep 1; done")

	s.run(g, writer)
	server.Kill() // Which the node finds out by a ping, after the order.
	last := s.run(g, "cat /run/acknowledged")
	s.shutsDownWithin(g, "poweroff", PoweredOff, endingTime)
	s.keeperSays(g, "the volume is given up so that the node can poweroff: WHAT WAS NOT WRITTEN TO IT YET IS LOST")
	checkVolume(t, host)
	hasRecords(t, host, last)
}

// keeperSays waits for what the keeper says on the console.
func (s *site) keeperSays(g *Guest, text string) {
	s.t.Helper()
	if _, err := g.Expect(s.ctx, `sidusboot-keeper: [^\r\n]*`+text); err != nil {
		s.t.Fatal(err)
	}
}

// TestLIORefused brings a node up against a server that is put in order bit by
// bit. The node says what is wrong each time, within 10 s, and tries again.
func TestLIORefused(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 16<<20)
	_, torn := s.volume("torn", 16<<20)
	lun := mutual(nodeTarget, file, 0)
	const tornTarget = "iqn.2013-09.org.sidusboot:torn"
	server := s.lio(lun, LUN{Target: tornTarget, File: torn, Unreadable: 5 << 20})
	node := GuestOptions{NICs: []NIC{{MAC: MAC(1)}}}
	initiator := nodeInitiator(MAC(1))
	acl := lun.group() + "/acls/" + initiator
	shell := func(script string) {
		t.Helper()
		s.run(server.Guest, "set -e\n"+script)
	}
	accounts := func(lun LUN) {
		t.Helper()
		if err := server.SetAccounts(s.ctx, lun); err != nil {
			t.Fatal(err)
		}
	}
	// On a slow machine the first change takes longer than the usual timeout.
	params := s.volumeParams(lioPortal + mutualWords + "sidus.mkfs=blank sidus.timeout=900 ")
	swap := exec.Command("mkswap", "-q", host)
	if out, err := swap.CombinedOutput(); err != nil {
		t.Fatalf("mkswap: %v, %s", err, out)
	}
	before := sum(t, host)

	shell(fmt.Sprintf("echo 0 >%s/enable", lun.group()))
	g := s.boot(params, node)
	s.says(g, "waiting for the iSCSI target: iscsi: login to "+nodeTarget, "status 0301", "LIO also answers this if it has no such target")

	shell(fmt.Sprintf("rm %[1]s/lun_1/disk; rmdir %[1]s/lun_1 %[1]s; echo 1 >%[2]s/enable", acl, lun.group()))
	s.failsWith(g, 1, "this initiator is not authorised (status 0202): add this node's initiator name or its address to the target's access list")

	shell(fmt.Sprintf("mkdir -p %s", acl))
	wrong := lun
	wrong.Password = "a-secret-of-others"
	accounts(wrong)
	s.fails(g, 2, "authentication failed (status 0201): compare CHAP user and password")

	wrong = lun
	wrong.PasswordIn = "not-what-it-knows"
	accounts(wrong)
	s.fails(g, 3, "the target does not have the user and password that it must prove")

	accounts(lun)
	s.fails(g, 4, "LUN 1 of "+nodeTarget+": no such LUN for this initiator")

	shell(fmt.Sprintf("mkdir %[1]s/lun_1; ln -s %[2]s/lun/lun_1 %[1]s/lun_1/disk", acl, lun.group()))
	s.fails(g, 5, "it holds swap space: it is not changed")
	if after := sum(t, host); after != before {
		t.Errorf("the volume was written to: %s before, %s after", before, after)
	}

	// Debian's targetcli makes no folder for registrations.
	shell("rm -r /var/target/pr")
	if err := os.WriteFile(host, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.says(g, "the target cannot save which node holds the volume", "handing over")
	if r := s.report(g); !r.RW.Made || r.Attempts != 6 || len(r.Failures) != 5 {
		t.Errorf("rw %+v, attempt %d, failures %q", r.RW, r.Attempts, r.Failures)
	}
	g.Kill()

	// Without an account, with a policy that acts.
	refused := s.volumeParams(lioPortal + "sidus.mkfs=blank sidus.onerror=reboot panic=-1 ")
	g = s.boot(refused, node)
	s.fails(g, 1, "LIO does this if it requires CHAP")
	s.ends(g, Rebooted)

	// A disk that cannot be read in its middle proves nothing.
	g = s.boot(refused+"sidus.iscsi.target="+tornTarget, node)
	s.fails(g, 1, "read 1048576 bytes at 5242880: read /dev/sda: input/output error")
	s.ends(g, Rebooted)
	if b, err := os.ReadFile(s.Path(torn)); err != nil || strings.Trim(string(b), "\x00") != "" {
		t.Errorf("the unreadable volume was written to, %v", err)
	}
}

// fails waits for the n-th failure of the stage rw, which has to come within 10 s
// of its begin and to say a text.
func (s *site) fails(g *Guest, n int, text string) {
	s.t.Helper()
	s.took(g, fmt.Sprintf("failure %d", n), s.failsWith(g, n, text).Took, 10*time.Second)
}

// failsWith waits for the n-th failure of the stage rw, which has to say a text.
func (s *site) failsWith(g *Guest, n int, text string) Event {
	s.t.Helper()
	e, err := g.WaitStageAgain(s.ctx, "rw", Failed, n)
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(e.Text, text) {
		s.t.Errorf("failure %d: %q, want %q", n, e.Text, text)
	}
	return e
}

// TestLIOHeld points a second node at the first one's volume, while that is
// paused, since there is no place for three: it is refused and told the first
// one's key. The first writes on unharmed, is cut off, and has its volume again.
// When it is gone, the second takes the volume over.
func TestLIOHeld(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 64<<20)
	server := s.lio(LUN{Target: nodeTarget, File: file})
	params := s.volumeParams("sidus.mkfs=blank sidus.iscsi.target=" + nodeTarget + lioPortal)
	owner := GuestOptions{NICs: []NIC{{MAC: MAC(1)}}}
	first := s.boot(params, owner)
	s.run(first, writer)
	held := s.run(server.Guest, "cat "+lioDisks+"/lun0/pr/res_holder "+lioDisks+"/lun0/pr/res_pr_registered_i_pts "+lioDisks+"/lun0/pr/res_aptpl_active")
	for _, want := range []string{"SPC-3 Reservation: iSCSI Initiator: " + nodeInitiator(MAC(1)), "APTPL Bit Status: Activated"} {
		if !strings.Contains(held, want) {
			t.Errorf("LIO says %q, want %q in it", held, want)
		}
	}
	if err := first.Pause(s.ctx); err != nil {
		t.Fatal(err)
	}
	other := GuestOptions{Name: "second", NICs: []NIC{{MAC: MAC(2)}}}
	second := s.boot(params+" sidus.onerror=poweroff", other)
	firstKey, _ := s.refusedKeys(second)
	s.fails(second, 1, "held by another node")
	second.Kill()
	if err := first.Resume(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.goesOn(first)
	last := s.run(first, "wc -l </records")
	first.Kill()
	again := s.boot(params, owner)
	s.has(again, last)
	again.Kill()

	second = s.boot(params+" sidus.rw.takeover="+firstKey, other)
	s.has(second, last)
	s.run(second, "echo taken >/root/taken; sync")
	held = s.run(server.Guest, "cat "+lioDisks+"/lun0/pr/res_holder "+lioDisks+"/lun0/pr/res_pr_registered_i_pts")
	if !strings.Contains(held, "SPC-3 Reservation: iSCSI Initiator: "+nodeInitiator(MAC(2))) || strings.Contains(held, nodeInitiator(MAC(1))) {
		t.Errorf("after the takeover LIO says %q", held)
	}
	second.Kill()
	checkVolume(t, host)
}
