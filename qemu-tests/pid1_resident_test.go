//go:build qemu

package qemutests

import (
	"regexp"
	"testing"
	"time"
)

// What finds the two resident processes. The brackets keep the shell that looks
// from finding itself.
const (
	keeperPID = "pgrep -f '^@sidusboot-[k]eeper'"
	guardPID  = "pgrep -f '^@sidusboot-[g]uard'"
)

// killed kills a resident process as an operator would, and waits until another
// has taken its place.
func (s *site) killed(g *Guest, find string) {
	s.t.Helper()
	s.run(g, `old=$(`+find+`) && kill -9 $old
for i in $(seq 300); do new=$(`+find+`) && test "$new" != "$old" && exit; sleep 0.1; done
echo "process $old has no successor: $(ps ax -o pid,ppid,args | grep '@[s]idusboot')"; exit 1`)
}

// resident checks what the resident processes have to be at any time, and that
// each of them is there once.
func (s *site) resident(g *Guest) {
	s.t.Helper()
	for _, find := range []string{keeperPID, guardPID} {
		dir := "/proc/$(" + find + ")"
		s.same(g, []answer{
			{find + " | wc -l", "1"},
			{"cat " + dir + "/oom_score_adj", "-1000"},
			{"awk '/Max core file size/ { print $5, $6 }' " + dir + "/limits", "0 0"},
			// Every page of the program is in memory and locked: its code, and its
			// data that it has not touched yet.
			{"awk '$6 != \"\" { name = $6 } /^[0-9a-f]+-[0-9a-f]+ / && $6 == \"\" { name = \"\" } " +
				"name == \"/keeper\" && /^Size:/ { size = $2; n++ } name == \"/keeper\" && /^Rss:/ && $2 != size { print \"not all in memory:\", $0, size } " +
				"name == \"/keeper\" && /^VmFlags:/ && !/ lo/ { print \"not locked\", $0 } END { print (n >= 3) }' " + dir + "/smaps", "1"},
			// PF_MEMALLOC_NOIO (include/linux/sched.h) in each thread: what
			// PR_SET_IO_FLUSHER sets.
			{`for t in ` + dir + `/task/*; do set -- $(sed 's/.*) //' $t/stat); echo $(($7 >> 19 & 1)); done | sort -u`, "1"},
			// Nothing of the node is mounted where they live.
			{"awk '{ print $5, $(NF-2) }' " + dir + "/mountinfo | sort", "/ tmpfs\n/dev tmpfs\n/proc proc\n/sys sysfs"},
			{"ls " + dir + "/fd | wc -l | awk '{ print ($1 < 16) }'", "1"},
			{"test $(awk '/VmRSS/ { print $2 }' " + dir + "/status) -le 12288 && echo small", "small"},
		})
	}
}

// TestResidentKilled kills the resident processes of a node on its LUN, one at a
// time: the other one says so and starts it again, and the lease is renewed and
// the session brought back as before.
func TestResidentKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.image = s.build(lunProfile)
	s.nfs(Export{}, NFSOptions{})
	server := s.dhcp(DHCPOptions{Router: ServerAddr, Lease: 2 * time.Minute})
	_, file := s.volume("lun", 64<<20)
	lun := LUN{Target: nodeTarget, File: file}
	target := s.tgt(lun)
	g := s.boot(s.volumeParams("sidus.mkfs=blank"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.resident(g)
	// Locked for others: nothing of it below /run/initramfs.
	s.same(g, []answer{
		{"stat -c %a /run/initramfs", "700"},
		{"ls -A /run/initramfs/proc /run/initramfs/sys /run/initramfs/dev", "/run/initramfs/dev:\n\n/run/initramfs/proc:\n\n/run/initramfs/sys:"},
		{"grep -c /run/initramfs/ /proc/self/mountinfo || true", "0"},
	})
	s.run(g, writer)

	s.killed(g, keeperPID)
	s.keeperSays(g, "@sidusboot-keeper HAS ENDED [(]signal: killed[)]: starting it again")
	s.killed(g, guardPID)
	s.keeperSays(g, "@sidusboot-guard HAS ENDED")
	s.killed(g, keeperPID)
	s.killed(g, guardPID)
	s.resident(g)

	// The session is brought back by the keeper that was started again.
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	s.keeperSays(g, "trying again")
	// And by one that begins while it is broken.
	s.killed(g, keeperPID)
	s.tgt(lun)
	s.keeperSays(g, "logged in again after")
	s.goesOn(g)

	// The lease too: it is renewed within its time, by a keeper that knows only
	// what it was at boot.
	before := acknowledged(server)
	for start := time.Now(); acknowledged(server) == before; time.Sleep(time.Second) {
		if time.Since(start) > 130*time.Second {
			t.Fatalf("no lease was renewed in two minutes:\n%s", server.Log())
		}
	}
	s.silent(g, "RUN OUT")
	s.resident(g)
	if bad := regexp.MustCompile(`(?i)BUG in sidusboot|CANNOT BE STARTED`).FindString(g.Console()); bad != "" {
		t.Errorf("the console says %q", bad)
	}
}

// TestResidentKilledInLogin kills the keeper again and again while it logs in:
// each of its successors finds a connection in another state, and the last one
// brings the session back. Two that log in on one session at a time are a panic
// of Linux 6.12.
func TestResidentKilledInLogin(t *testing.T) {
	Soak(t)
	t.Parallel()
	s := newSite(t, "trixie")
	s.image = s.build(lunProfile)
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Router: ServerAddr})
	_, file := s.volume("lun", 64<<20)
	lun := LUN{Target: nodeTarget, File: file}
	target := s.tgt(lun)
	g := s.boot(s.volumeParams("sidus.mkfs=blank"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.run(g, writer)
	// The pauses between two starts double, up to a minute. The sleeps differ so that
	// the keeper is killed at different points of its login.
	for kills := range 8 {
		if err := target.Kill(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(kills) * 300 * time.Millisecond)
		target = s.tgt(lun)
		time.Sleep(time.Duration(kills) * 150 * time.Millisecond)
		s.run(g, "kill -9 $("+keeperPID+"); until "+keeperPID+"; do sleep 0.05; done")
	}
	s.goesOn(g)
	s.resident(g)
}
