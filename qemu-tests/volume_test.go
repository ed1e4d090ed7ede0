//go:build qemu

package qemutests

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nodeTarget is the volume that bears the node's address, by default.
const nodeTarget = "iqn.2013-09.org.sidusboot:" + NodeAddr

// lunProfile adds to an image what it needs for a LUN.
const lunProfile = "--profile=iscsi"

// newVolumeSite is a site with a tree, addresses and images for LUNs.
func newVolumeSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t, "bookworm")
	s.image = s.build(lunProfile)
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Router: ServerAddr})
	return s
}

func (s *site) tgt(luns ...LUN) *Server {
	s.t.Helper()
	server, err := s.StartTGT(s.ctx, luns)
	if err != nil {
		s.t.Fatal(err)
	}
	return server
}

// volume makes a blank volume.
func (s *site) volume(name string, size int64) (host, inLab string) {
	s.t.Helper()
	host, inLab, err := s.Volume(name, size)
	if err != nil {
		s.t.Fatal(err)
	}
	return host, inLab
}

// TestVolume boots a node from nothing on its LUN: a file system is made on the
// blank volume, what is written is there at the next boot and the one after,
// the reboot leaves the file system clean, and the target has seen a logout. The
// last boot is one of another machine, say with a new mainboard, which needs no
// takeover. Only the first two with 512 bytes are whole boots, the others probes,
// which do not end by themselves; in a soak all are whole.
func TestVolume(t *testing.T) {
	t.Parallel()
	Require(t)
	for name, sector := range map[string]int{"512": 512, "4096": 4096} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newVolumeSite(t)
			host, file := s.volume("lun", 64<<20)
			s.tgt(LUN{Target: nodeTarget, File: file, BlockSize: sector, User: "node", Password: "a-secret-of-16-b"})
			params := s.root("vers=3 ") + EventParam +
				" sidus.rw=iscsi sidus.iscsi.lun=1 sidus.iscsi.user=node sidus.iscsi.password=a-secret-of-16-b sidus.mkfs=blank sidus.iscsi.target=" + nodeTarget
			var boots []string
			whole := map[int]int{512: 2, 4096: 0}[sector]
			if Soaking() {
				whole = 3
			}
			for boot := range 3 {
				way, card := " "+AgentParam, MAC(1)
				if boot >= whole {
					way = " init=" + AgentInit
				}
				if boot == 2 && whole >= 2 {
					card = MAC(2) // The one before has ended properly.
				}
				g := s.boot(params+way, GuestOptions{NICs: []NIC{{MAC: card}}})
				if boot < whole {
					if _, err := failedUnits(g, t); err != nil {
						t.Fatal(err)
					}
				}
				boots = append(boots, "boot")
				s.run(g, "echo boot >>/root/boots; sync")
				s.same(g, []answer{
					{"findmnt -n -o FSTYPE -M /rw", "ext4"},
					{"cat /root/boots", strings.Join(boots, "\n")},
					{"cat /rw/upper/root/boots", strings.Join(boots, "\n")},
					{"pgrep -c -f ^@sidusboot-keeper", "1"},
				})
				made := boot == 0
				if r := s.report(g); r.RW.Kind != "iscsi" || r.RW.Made != made || r.RW.Filesystem != "ext4" {
					t.Errorf("boot %d: rw %+v, want ext4 on iSCSI, made: %v", boot, r.RW, made)
				}
				if boot >= whole {
					g.Kill()
					continue
				}
				s.shutsDown(g, "reboot", Rebooted)
				if sessions, err := s.Output(s.ctx, "tgtadm", "--op", "show", "--mode", "conn", "--tid", "1"); err != nil || strings.TrimSpace(sessions) != "" {
					t.Errorf("after the reboot the target still has %q, %v: no logout", sessions, err)
				}
				clean(t, host)
			}
		})
	}
}

// shutsDown orders a verb of a node with systemd and checks that it ends so, within
// its limit, and that the shutdown reports no fault.
func (s *site) shutsDown(g *Guest, verb string, want Reason) {
	s.t.Helper()
	s.shutsDownWithin(g, verb, want, shutdownTime)
	_, after, _ := strings.Cut(g.Console(), "Returning to initrd")
	if complaint := regexp.MustCompile(`sidusboot: .*`).FindString(strings.ReplaceAll(after, "sidusboot: "+verb, "")); complaint != "" {
		s.t.Errorf("the shutdown says %q", complaint)
	}
}

func (s *site) shutsDownWithin(g *Guest, verb string, want Reason, within time.Duration) {
	s.t.Helper()
	order := "the test says " + verb
	s.orders(g, order, verb)
	s.ends(g, want)
	s.stopped(g, order, within)
}

// clean checks that a volume was unmounted properly.
func clean(t *testing.T, host string) {
	t.Helper()
	out, err := exec.Command("dumpe2fs", "-h", host).CombinedOutput()
	if text := string(out); err != nil || !strings.Contains(text, "Filesystem state:         clean\n") || strings.Contains(text, "needs_recovery") {
		t.Errorf("dumpe2fs: %v, %s", err, out)
	}
	if out, err := exec.Command("e2fsck", "-fn", host).CombinedOutput(); err != nil {
		t.Errorf("e2fsck -fn: %v, %s", err, out)
	}
}

// volumeParams make a probe with its root on the LUN of a target.
func (s *site) volumeParams(more string) string {
	return s.root("vers=3 ") + probeParams + " sidus.rw=iscsi sidus.iscsi.lun=1 " + more
}

// TestForeignVolume offers nodes volumes that hold something. None is touched,
// although a file system may be made on a blank one, and what was found is
// said.
func TestForeignVolume(t *testing.T) {
	t.Parallel()
	Require(t)
	for name, test := range map[string]struct {
		command, says string
		// soak: only in a soak; LIO shows swap space, too.
		soak bool
	}{
		"swap":    {"mkswap -q $F", "it holds swap space", true},
		"gpt":     {"printf 'label: gpt\\n,,L\\n' | sfdisk -q $F", "it holds a GPT partition table", false},
		"lvm":     {"printf LABELONE | dd of=$F bs=512 seek=1 conv=notrunc status=none", "it holds an LVM physical volume", true},
		"random":  {"head -c 16777216 /dev/urandom >$F", "it has data of an unknown kind, first found at byte 0", true},
		"oneByte": {"printf x | dd of=$F bs=1 seek=12345678 conv=notrunc status=none", "first found at byte 12345678", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.soak {
				Soak(t)
			}
			s := newVolumeSite(t)
			host, file := s.volume("lun", 16<<20)
			cmd := exec.Command("sh", "-ec", test.command)
			cmd.Env = append(os.Environ(), "F="+host)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			before := sum(t, host)
			s.tgt(LUN{Target: nodeTarget, File: file})
			g := s.boot(s.volumeParams("sidus.onerror=reboot panic=-1 sidus.mkfs=blank"), GuestOptions{})
			s.says(g, "rw: rwlayer: /dev/sda", test.says)
			s.ends(g, Rebooted)
			if after := sum(t, host); after != before {
				t.Errorf("the volume was written to: %s before, %s after", before, after)
			}
		})
	}
}

// TestBlankVolume proves that a volume of 1 TiB is blank, which must not take
// minutes, and leaves it alone, as no file system is allowed to be made on it.
func TestBlankVolume(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 1<<40)
	s.tgt(LUN{Target: nodeTarget, File: file})
	g := s.boot(s.volumeParams("sidus.onerror=reboot panic=-1"), GuestOptions{})
	s.says(g, "rw: rwlayer: /dev/sda", "is blank: allow this node to make a file system on it, or make one yourself: sidus.mkfs=blank allows it")
	e, err := g.WaitStage(s.ctx, "rw", Failed)
	if err != nil {
		t.Fatal(err)
	}
	s.took(g, "the proof", e.Took, time.Minute)
	s.ends(g, Rebooted)
	var st unix.Stat_t
	if err := unix.Stat(host, &st); err != nil || st.Blocks != 0 {
		t.Errorf("the volume was written to: it has %d blocks, %v", st.Blocks, err)
	}
}

// TestTargetRestartsInBoot kills the target while /init reads the volume, and
// starts it again a little later: the boot logs in again and goes on.
func TestTargetRestartsInBoot(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	_, file := s.volume("lun", 250<<20)
	lun := LUN{Target: nodeTarget, File: file}
	target := s.tgt(lun)
	g := s.boot(s.volumeParams("sidus.mkfs=blank"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if _, err := g.Expect(s.ctx, "Attached SCSI disk"); err != nil {
		t.Fatal(err)
	}
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	s.says(g, "the target closed the connection (1020); logging in again")
	time.Sleep(7 * time.Second) // The outage itself.
	s.silent(g, "rw: rwlayer")
	s.tgt(lun)
	s.says(g, "logged in again after", "handing over")
	if r := s.report(g); !r.RW.Made || r.Attempts != 1 {
		t.Errorf("rw %+v in attempt %d", r.RW, r.Attempts)
	}
	s.same(g, []answer{{"echo x >/root/x; sync; cat /rw/upper/root/x", "x"}})
}

// sum is the SHA-256 of a file, as sha256sum(1) prints it.
func sum(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// TestVolumeRefused gives nodes what their target does not accept. Each says
// what is wrong within 10 s, and follows its policy.
func TestVolumeRefused(t *testing.T) {
	t.Parallel()
	Require(t)
	const right, wrong = "sidus.iscsi.user=node sidus.iscsi.password=a-secret-of-16-b ", "sidus.iscsi.user=node sidus.iscsi.password=another-of-16-by "
	for name, test := range map[string]struct {
		params, says string
		// soak: only in a soak; TestVolumeDamaged shows another target's name, too.
		soak bool
	}{
		"password": {wrong, "status 0201", false},
		"none":     {"", "status 0201", true},
		"target":   {right + "sidus.iscsi.target=iqn.2013-09.org.sidusboot:other ", "no such target (status 0203)", true},
		"lun":      {right + "sidus.iscsi.lun=7 ", "LUN 7 of " + nodeTarget, false},
		"mutual":   {right + "sidus.iscsi.user_in=tgt sidus.iscsi.password_in=not-what-it-knows ", "the target does not have the user and password that it must prove", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.soak {
				Soak(t)
			}
			s := newVolumeSite(t)
			_, file := s.volume("lun", 16<<20)
			s.tgt(LUN{Target: nodeTarget, File: file, User: "node", Password: "a-secret-of-16-b", UserIn: "tgt", PasswordIn: "proof-of-target-1"})
			g := s.boot(s.volumeParams("sidus.mkfs=blank sidus.onerror=reboot panic=-1 "+test.params), GuestOptions{})
			s.fails(g, 1, test.says)
			s.says(g, "rw: ", test.says)
			s.ends(g, Rebooted)
			for _, secret := range []string{"another-of-16-by", "a-secret-of-16-b", "not-what-it-knows"} {
				s.silentAfter(g, "Run /init", secret)
			}
		})
	}
}

// silentAfter checks that a text is not on the console behind another: the
// kernel prints its command line before.
func (s *site) silentAfter(g *Guest, mark, text string) {
	s.t.Helper()
	if _, after, ok := strings.Cut(g.Console(), mark); !ok || strings.Contains(after, text) {
		s.t.Errorf("the console says %q behind %q", text, mark)
	}
}

// TestVolumeHeld points a second node at the first one's volume. It is refused
// and says who holds it; the first writes on unharmed; and when the first has
// crashed and boots again, it has its volume back. When the second gets it after
// all, because tgt forgets at a restart while the first is away, the first lets
// go. At last the first takes it over from the second, which is gone.
func TestVolumeHeld(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	s.boots(2, siteTime)
	host, file := s.volume("lun", 64<<20)
	lun := LUN{Target: nodeTarget, File: file}
	target := s.tgt(lun)
	params := s.volumeParams("sidus.mkfs=blank sidus.iscsi.target=" + nodeTarget)
	owner := GuestOptions{NICs: []NIC{{MAC: MAC(1)}}}
	first := s.boot(params, owner)
	s.run(first, "echo one >/root/mine; sync")
	other := GuestOptions{Name: "second", NICs: []NIC{{MAC: MAC(2)}}}
	second := s.boot(params+" sidus.onerror=poweroff", other)
	_, secondKey := s.refusedKeys(second)
	second.Kill()
	s.run(first, "echo two >>/root/mine; sync")
	first.Kill() // As in a power cut.
	first = s.boot(params, owner)
	s.same(first, []answer{{"cat /root/mine", "one\ntwo"}, {"findmnt -n -o FSTYPE -M /rw", "ext4"}})
	s.run(first, "sync")

	if err := first.Pause(s.ctx); err != nil {
		t.Fatal(err)
	}
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	s.tgt(lun)
	second = s.boot(params, other)
	s.run(second, "echo three >>/root/mine; sync")
	if err := first.Resume(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.keeperSays(first, "ANOTHER NODE HAS TAKEN THE VOLUME")
	s.same(first, []answer{{"ls /sys/class/iscsi_session | wc -l", "0"}})
	first.Kill()
	s.run(second, "echo four >>/root/mine; sync")
	second.Kill()

	first = s.boot(params+" sidus.rw.takeover="+secondKey, owner)
	s.same(first, []answer{{"cat /root/mine", "one\ntwo\nthree\nfour"}})
	first.Kill()
	checkVolume(t, host)
}

// refusedKeys waits until a node is refused its volume, and returns the keys of
// the other one, which has it, and its own.
func (s *site) refusedKeys(g *Guest) (holder, own string) {
	s.t.Helper()
	m, err := g.Expect(s.ctx, `sidusboot: rw: [^\r\n]*the volume is held by another node with key (0x[0-9a-f]{16}) \(this node's is (0x[0-9a-f]{16})\)`)
	if err != nil {
		s.t.Fatal(err)
	}
	s.says(g, "boot this one once with sidus.rw.takeover="+m.Groups[1], "power off in 30s")
	return m.Groups[1], m.Groups[2]
}

// outage is how long the target is away from its node.
const outage = 90 * time.Second

// writer writes numbered records, each with fsync, until /run/stop is there. It
// goes on behind the last record that is there, notes the last one that was
// acknowledged in /run/acknowledged and on the console, and what failed in
// /run/errors. /run/ended is there when it has ended.
const writer = `rm -f /run/stop /run/ended
cat >/run/writer <<'EOW'
i=$(cat /records 2>/dev/null | wc -l)
while [ ! -e /run/stop ]; do
	i=$((i+1))
	if echo $i >>/records && sync /records; then
		echo $i >/run/acknowledged
		echo "acknowledged $i." >/dev/ttyS0
	else
		echo "record $i failed" >>/run/errors
	fi
done
touch /run/ended
EOW
sh /run/writer </dev/null >/dev/null 2>&1 &
while [ ! -e /run/acknowledged ]; do sleep 0.2; done`

// TestOutage takes the target from a node that writes, in two ways: it is killed,
// so that its port refuses, and started again; the cable is pulled. The writer
// sees no error, the file system stays writable, every record that fsync
// acknowledged is there.
func TestOutage(t *testing.T) {
	t.Parallel()
	Require(t)
	for name, cut := range map[string]func(s *site, g *Guest, target *Server, lun LUN){
		"targetKilled": func(s *site, _ *Guest, target *Server, lun LUN) {
			if err := target.Kill(); err != nil {
				s.t.Fatal(err)
			}
			s.rest(outage)
			s.tgt(lun)
		},
		"cablePulled": func(s *site, g *Guest, _ *Server, _ LUN) {
			if err := g.SetLink(s.ctx, 0, false); err != nil {
				s.t.Fatal(err)
			}
			s.rest(outage)
			if err := g.SetLink(s.ctx, 0, true); err != nil {
				s.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newVolumeSite(t)
			host, file := s.volume("lun", 64<<20)
			lun := LUN{Target: nodeTarget, File: file}
			target := s.tgt(lun)
			params := s.volumeParams("sidus.mkfs=blank sidus.iscsi.target=" + nodeTarget)
			g := s.boot(params, GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
			s.run(g, writer)
			cut(s, g, target, lun)
			s.goesOn(g)
			g.Kill()
			checkVolume(t, host)
		})
	}
}

// goesOn checks that the writer got over an outage: it writes again, it has seen
// no error, and every record is there.
func (s *site) goesOn(g *Guest) {
	s.t.Helper()
	before := s.run(g, "cat /run/acknowledged")
	s.run(g, "until [ $(cat /run/acknowledged) -gt $(("+before+" + 10)) ]; do sleep 0.5; done")
	s.run(g, "touch /run/stop; until [ -e /run/ended ]; do sleep 0.1; done; sync")
	s.same(g, []answer{
		{"cat /run/errors 2>/dev/null || true", ""},
		{"awk '$2 == \"/rw\" { print $4 }' /proc/mounts | cut -d, -f1", "rw"},
		{"test $(cat /run/acknowledged) -gt " + before + " && echo more", "more"},
		{"test $(wc -l </records) -ge $(cat /run/acknowledged) && echo all", "all"},
		{"seq $(wc -l </records) | cmp - /records && echo in order", "in order"},
		{"dmesg | grep -c -e 'I/O error' -e 'EXT4-fs error' -e 'Remounting' || true", "0"},
		{"test $(awk '/VmRSS/ { print $2 }' /proc/$(pgrep -f ^@sidusboot-keeper)/status) -le 12288 && echo small", "small"},
	})
}

// has checks that a node has the records up to last, in order.
func (s *site) has(g *Guest, last string) {
	s.t.Helper()
	if got := s.run(g, `test "$(head -n `+last+` /records 2>/dev/null)" = "$(seq `+last+`)" && echo all || tail -n 3 /records`); got != "all" {
		s.t.Fatalf("%s was acknowledged, the records end with %q", last, got)
	}
}

// cutOff checks the records up to last, lets the node write for a moment and cuts
// its power. It returns the last record that was acknowledged.
func (s *site) cutOff(g *Guest, last string) string {
	s.t.Helper()
	s.has(g, last)
	s.run(g, writer)
	time.Sleep(rand.N(3 * time.Second)) // The power is cut at any moment.
	g.Kill()
	all := regexp.MustCompile(`acknowledged (\d+)\.`).FindAllStringSubmatch(g.Console(), -1)
	if len(all) == 0 {
		s.t.Fatal("nothing was acknowledged")
	}
	return all[len(all)-1][1]
}

// checkVolume replays the journal of a volume whose node was cut off, and lets
// e2fsck find nothing after that.
func checkVolume(t *testing.T, host string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", `e2fsck -E journal_only -p "$1" && e2fsck -fn "$1"`, "fsck", host).CombinedOutput()
	if err != nil {
		t.Errorf("e2fsck: %v, %s", err, out)
	}
}

// TestPowerCut cuts the power of a node that writes, at four random moments, in a
// soak at seventeen. Each time it boots again and has every record that was
// acknowledged. One more, in a soak three, are in TestLIO.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 64<<20)
	s.tgt(LUN{Target: nodeTarget, File: file})
	last := "0"
	cuts := 4
	if Soaking() {
		cuts = 17
	}
	for range cuts {
		g := s.boot(s.volumeParams("sidus.mkfs=blank quiet"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
		last = s.cutOff(g, last)
	}
	checkVolume(t, host)
	hasRecords(t, host, last)
}

// hasRecords checks on the host that a volume has the records up to last.
func hasRecords(t *testing.T, host, last string) {
	t.Helper()
	out, err := exec.Command("debugfs", "-R", "cat /upper/records", host).Output()
	n, atoi := strconv.Atoi(last)
	if got := strings.Count(string(out), "\n"); err != nil || atoi != nil || got < n {
		t.Errorf("%s was acknowledged, %d records are there, %v", last, got, err)
	}
}
