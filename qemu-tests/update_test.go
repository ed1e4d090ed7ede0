//go:build qemu

package qemutests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/versions"
)

// A versionSite is a site with a base of versions, a and b, of which a is current.
type versionSite struct {
	*site
	dir          string
	base         *versions.Base
	server, dhcp *Server
}

// unread is a file that has the version's ID in it.
const unread = "/usr/share/sidusboot-test/unread"

func newVersionSite(t *testing.T, v Variant) *versionSite {
	t.Helper()
	return newSiteOf(t, v).versions()
}

// versions is the site with versions of its tree, served instead of the tree.
func (s *site) versions() *versionSite {
	s.t.Helper()
	v := &versionSite{site: s, dir: filepath.Join(s.t.TempDir(), "base")}
	v.dhcp = s.dhcp(DHCPOptions{Lease: 4 * time.Minute}) // Renewed several times in a test.
	v.base = newBase(s.t, v.dir, s.tree)
	if err := os.MkdirAll(filepath.Join(v.dir, "staging/etc/ssh"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	v.publish("b")
	v.publish("a")
	v.serve()
	return v
}

// serve starts the server.
func (s *versionSite) serve() {
	s.t.Helper()
	ganesha := NFSOptions{Exports: []Export{{Path: s.dir}}, Config: "EXPORT_DEFAULTS { Attr_Expiration_Time = 0; }"}
	var err error
	if s.server, err = s.StartNFS(s.ctx, ganesha); err != nil {
		s.t.Fatal(err)
	}
}

// publish makes a version.
func (s *versionSite) publish(id string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "staging", unread)
	if err := os.WriteFile(path+".new", []byte(id+"\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.base.Publish(s.t.Context(), versions.PublishOptions{ID: id, Now: time.Now()}); err != nil {
		s.t.Fatal(err)
	}
}

// makeCurrent makes a version current that there is.
func (s *versionSite) makeCurrent(id string) {
	s.t.Helper()
	if _, _, err := s.base.Rollback(id); err != nil {
		s.t.Fatal(err)
	}
}

// params is the command line of a node of the base.
func (s *versionSite) params(more string) string {
	return "nfsroot=" + ServerAddr + ":" + s.dir + " " + smallParams + " " + more
}

// updates has a node update itself and waits until it is up again.
func (s *versionSite) updates(g *Guest, args string) {
	s.t.Helper()
	starts := g.AgentStarts()
	s.run(g, "{ sleep 0.3; "+sidusnode+" update "+args+"; echo status $?; } >/run/update.log 2>&1 </dev/null &")
	if err := g.WaitAgentStart(s.ctx, starts+1); err != nil {
		s.t.Fatal(err)
	}
}

// number is what a command prints.
func (s *site) number(g *Guest, command string) int {
	s.t.Helper()
	n, err := strconv.Atoi(s.run(g, command))
	if err != nil {
		s.t.Fatalf("%s: %v", command, err)
	}
	return n
}

// keeperOf is the process of the keeper.
const keeperOf = "pgrep -f ^@sidusboot-keeper"

// TestUpdateSoft updates a Debian 13 by a soft-reboot, in a soak by many, to and fro. There it has
// NetworkManager and sshd, and the target with its missing LUN has another node's.
func TestUpdateSoft(t *testing.T) {
	t.Parallel()
	rounds, variant, params := 1, Variant{Suite: "trixie"}, ""
	if Soaking() {
		rounds = 20
		variant = Variant{Suite: "trixie", Packages: []string{"network-manager", "openssh-server"}, Script: "rm -f /etc/ssh/ssh_host_*"}
		params = "sidus.rw=iscsi sidus.iscsi.lun=1 sidus.rw.fallback=tmpfs systemd.wants=NetworkManager.service systemd.wants=ssh.service"
	}
	s := newVersionSite(t, variant)
	var around *surroundings
	if Soaking() {
		around = s.surroundings()
	}
	g := s.boot(s.params(params), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if failed, err := failedUnits(g, t); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	keeper, id := s.run(g, keeperOf), s.run(g, "cat /etc/machine-id /etc/hostname /etc/hosts")
	s.run(g, "umask 077; echo secret >/etc/ssh/ssh_host_test_key")
	if around != nil {
		around.first(g)
	}
	const mountsOf, free = "grep -c . /proc/self/mountinfo", "sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"
	var mounts, memory []int
	measure := func() {
		t.Helper()
		s.run(g, "sync; echo 3 >/proc/sys/vm/drop_caches")
		mounts, memory = append(mounts, s.number(g, mountsOf)), append(memory, s.number(g, free))
		t.Logf("after %d rounds: %d mounts, MemAvailable %d kB", len(mounts)-1, mounts[len(mounts)-1], memory[len(memory)-1])
	}
	measure()
	for i := range rounds {
		before, next := "a", "b"
		if i%2 == 1 {
			before, next = next, before
		}
		s.makeCurrent(next)
		s.run(g, "dd if=/dev/zero of=/root/waste bs=1M count=30 2>&1")
		s.updates(g, "")
		if failed, err := failedUnits(g, t); err != nil || len(failed) > 0 {
			t.Fatalf("round %d: %q, %v", i+1, failed, err)
		}
		s.same(g, []answer{
			{"cat " + unread, next},
			{keeperOf, keeper},
			{"test -e /root/waste; echo $?", "1"},
			{"head -n 1 /run/update.log", "update from version " + before + " to " + next + " by soft-reboot: same kernel and image"},
			{"cat /etc/machine-id /etc/hostname /etc/hosts", id},
			{"cat /etc/ssh/ssh_host_test_key; stat -c %a /etc/ssh/ssh_host_test_key", "secret\n600"},
		})
		// The keeper mounts what the soft-reboot has left behind.
		s.run(g, "until test -x "+sidusnode+"; do sleep 1; done")
		// On a busy machine its first answer may take longer than the 5 s that it gives.
		s.until(g, sidusnode+" check", "current")
		n := s.state(g, sidusnode+" status --json")
		if n.Version != next || len(n.Lease) != 1 || n.Lease[0] != NodeAddr+" eth0 bound" {
			t.Errorf("round %d: %+v", i+1, n)
		}
		if around != nil {
			around.same(g)
		}
		measure()
	}
	// Some of systemd's come and go with the first.
	flat(t, "mounts", mounts[:2], 4)
	flat(t, "mounts", mounts[1:], 0)
	// A union that stays would keep 30 MB in each round; what is free varies by some 10.
	flat(t, "MemAvailable", memory, 16<<10+rounds<<10)
	runs, other := "b", "a"
	if rounds%2 == 0 {
		runs, other = other, runs
	}
	s.same(g, []answer{
		{sidusnode + " update; echo $?", "nothing to do: this node runs version " + runs + "\n0"},
		{sidusnode + " update --to none 2>&1; echo $?", "sidusnode: update to version none: " + ServerAddr + ":" + s.dir + " has no version none for this node: permission denied; nothing was changed\n1"},
		{sidusnode + " update --to " + other + " --reboot 2>&1 || true", "sidusnode: update to version " + other + ": cannot update by reboot: a reboot would boot version " + runs + ", not " + other + "; nothing was changed"},
	})

	if around != nil {
		s.serverDies(g, runs, other, mountsOf)
		s.strained(g, other, runs, mountsOf)
		around.same(g)
		around.unharmed()
	}
	s.shutsDown(g, "poweroff", PoweredOff)
	if around != nil {
		s.takesNextWay()
	}
}

// takesNextWay updates a node whose layer is on a LUN: it is in one union only, so that
// the node restarts.
func (s *versionSite) takesNextWay() {
	s.t.Helper()
	s.makeCurrent("a")
	g := s.boot(s.params("sidus.rw=iscsi sidus.iscsi.lun=1 sidus.iscsi.target="+spareTarget+" sidus.mkfs=blank"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if r := s.report(g); r.RW.Kind != "iscsi" || r.Root.TreeVersion != "a" {
		s.t.Errorf("rw %+v, root %+v", r.RW, r.Root)
	}
	s.makeCurrent("b")
	s.same(g, []answer{{sidusnode + " update --soft 2>&1 || true", "sidusnode: update to version b: cannot update by soft-reboot: /rw is a volume, which cannot be in two unions at the same time; nothing was changed"}})
	s.run(g, "{ sleep 0.3; "+sidusnode+" update; } >/dev/null 2>&1 </dev/null &")
	s.says(g, "update from version a to b by reboot: no soft-reboot: /rw is a volume, which cannot be in two unions at the same time; no kexec: the version has no /boot/initrd-sidus-RELEASE")
	s.ends(g, Rebooted)
}

// serverDies has the server die in the middle of an update: the node goes on as before,
// and is updated when the server is back.
func (s *versionSite) serverDies(g *Guest, runs, other, mountsOf string) {
	s.t.Helper()
	before, lastSaid := s.number(g, mountsOf), len(g.Console())
	s.run(g, sidusnode+" update --to "+other+" >/run/dead.log 2>&1 </dev/null &")
	begun, err := g.ExpectAfter(s.ctx, lastSaid, "sidusboot: update from version "+runs+" to "+other+" by soft-reboot")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.server.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := g.ExpectAfter(s.ctx, begun.End, "sidusboot: update to version [^\r\n]* undone, and the node still runs version "+runs); err != nil {
		s.t.Fatal(err)
	}
	s.serve()
	s.same(g, []answer{{"cat " + unread, runs}, {mountsOf, strconv.Itoa(before)}, {"test -e /run/nextroot/etc; echo $?", "1"}})
	s.updates(g, "--to "+other)
	s.same(g, []answer{{"cat " + unread, other}})
}

// strained updates a node whose /run is full, and then one whose /rw is full, by
// several at once, of which one does it.
func (s *versionSite) strained(g *Guest, runs, other, mountsOf string) {
	s.t.Helper()
	before := s.run(g, mountsOf)
	const full = "dd if=/dev/zero bs=64k of="
	s.same(g, []answer{{sidusnode + " update --to '' 2>/dev/null; echo $?", "64"}})
	s.updates(g, "--help; "+full+"/run/full; "+sidusnode+" update --to "+other)
	s.same(g, []answer{{"cat " + unread, other}, {"test -s /run/full; echo $?; rm /run/full", "0"}, {mountsOf, before}})

	s.same(g, []answer{{full + "/root/full 2>&1 | grep -c 'No space left'", "1"}})
	starts := g.AgentStarts()
	s.run(g, "trap '' HUP TERM; u() { "+sidusnode+" update --to "+runs+"; echo status $?; }; { sleep 0.3; u & u; wait; u; } >/run/twice.log 2>&1 </dev/null &")
	if err := g.WaitAgentStart(s.ctx, starts+1); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("several at once: %s", s.run(g, "cat /run/twice.log"))
	s.same(g, []answer{
		{"cat " + unread, runs},
		{"grep -c ' by soft-reboot: ' /run/twice.log; grep -c undone /run/twice.log || true", "1\n0"},
		{"test $(grep -c 'another update of this node is running' /run/twice.log) -ge 1; echo $?", "0"},
		{"df --output=pcent /rw | tail -n 1 | tr -d ' %' | grep -c '^[0-9]$'", "1"},
	})
}

// flat checks that what was measured round by round does not grow, or fall, from the
// first time to the last by more than some.
func flat(t *testing.T, what string, values []int, some int) {
	t.Helper()
	first, last := values[0], values[len(values)-1]
	if d := last - first; d > some || d < -some {
		t.Errorf("%s: %d at first, %d at last, of %d", what, first, last, len(values))
	}
}

// TestUpdateKexec updates a Debian 12, whose systemd has no soft-reboot, by kexec.
// Ways that are not possible are refused.
func TestUpdateKexec(t *testing.T) {
	t.Parallel()
	Soak(t) // Two whole boots, and the choice of a way has unit tests.
	s := newVersionSite(t, Variant{Suite: "bookworm"})
	image, err := os.ReadFile(s.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "staging/boot/initrd-sidus-"+s.release), image, 0o644); err != nil {
		t.Fatal(err)
	}
	g := s.boot(s.params(""), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.same(g, []answer{
		{sidusnode + " update --to b --soft 2>&1 || true", "sidusnode: update to version b: cannot update by soft-reboot: systemd is version 252, and soft-reboot needs 254 or later; nothing was changed"},
		{sidusnode + " update --to b --kexec 2>&1 || true", "sidusnode: update to version b: cannot update by kexec: the version has no /boot/initrd-sidus-RELEASE with /boot/vmlinuz-RELEASE; nothing was changed"},
		{"cat " + unread, "a"},
	})
	s.publish("k")
	s.run(g, "touch /run/before")
	s.updates(g, "")
	s.says(g, "update from version a to k by kexec: no soft-reboot: systemd is version 252")
	s.same(g, []answer{{"cat " + unread, "k"}, {"test -e /run/before; echo $?", "1"}})
	if r := s.report(g); r.Root.TreeVersion != "k" {
		t.Errorf("root %+v", r.Root)
	}
	g.Kill()
}

// TestFollowIdle has a node change over by itself, when nobody is logged in.
func TestFollowIdle(t *testing.T) {
	t.Parallel()
	Soak(t)
	s := newVersionSite(t, Variant{Suite: "trixie"})
	g := s.boot(s.params("sidus.follow=idle"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.run(g, "systemctl start systemd-logind serial-getty@ttyS0")
	if _, err := g.Expect(s.ctx, "login: "); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(g.Input(), "root"); err != nil {
		t.Fatal(err)
	}
	s.run(g, "until grep -qs CLASS=user /run/systemd/sessions/*; do sleep 0.5; done")
	s.makeCurrent("b")
	// What the keeper does once a minute.
	const look = sidusnode + " watch"
	s.same(g, []answer{{look + "; " + look + "; cat " + unread, "a"}})
	s.checks(g, 1, "version b is current, this node runs a")
	// A program of the tree's may object, too. It is there before nobody is logged in
	// any more: the keeper looks by itself.
	s.run(g, "mkdir -p /etc/sidusboot; printf '#!/bin/sh\nexit 1\n' >/etc/sidusboot/idle; chmod 755 /etc/sidusboot/idle")
	s.run(g, "loginctl terminate-user root; until ! grep -qs CLASS=user /run/systemd/sessions/*; do sleep 0.5; done")
	s.same(g, []answer{{look + "; cat " + unread, "a"}})
	s.silent(g, "update to version b (sidus.follow=idle)")
	starts := g.AgentStarts()
	// Typed: the node may change over before the shell has answered.
	if err := g.Type("printf '#!/bin/sh\nexit 0\n' >/etc/sidusboot/idle"); err != nil {
		t.Fatal(err)
	}
	if err := g.WaitAgentStart(s.ctx, starts+1); err != nil {
		t.Fatal(err)
	}
	s.says(g, "update to version b (sidus.follow=idle); if it fails, it is not tried again")
	s.same(g, []answer{{"cat " + unread, "b"}})
	g.Kill()
}
