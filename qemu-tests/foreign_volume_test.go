//go:build qemu

package qemutests

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// othersFiles puts two foreign files into an ext4.
const othersFiles = "printf thesis >$F.thesis; debugfs -w -f /dev/stdin $F <<EOD\nmkdir home\nwrite $F.thesis home/thesis\nEOD\nrm $F.thesis"

// othersID is the UUID of the foreign ext4.
const othersID = "0b5e55ed-0000-4000-8000-000000000001"

// TestForeignFileSystem offers nodes volumes with a file system that is not
// theirs, which sidus.mkfs=blank would allow them to use were it their own: an
// old ext4 below a partition table, and a foreign ext4 that was cut off in its
// use. Nothing is written, and what was found is named.
func TestForeignFileSystem(t *testing.T) {
	t.Parallel()
	Require(t)
	const mkfs = "mkfs.ext4 -q -U " + othersID + " $F"
	for name, test := range map[string]struct{ command, says string }{
		"mbr": {mkfs + " -L sidusboot; printf '2048,,L\\n' | sfdisk -q -w never -W never $F", "it holds a partition table (MBR), an old ext4 below it: it is not changed"},
		// A journal to be replayed, and a deletion to be ended.
		"others": {mkfs + " -L photos; " + othersFiles + "; debugfs -w -R 'feature needs_recovery' $F; debugfs -w -R 'ssv last_orphan 12' $F",
			`ext4 labelled "photos", UUID ` + othersID + ", that is not known to be this node's own: there is home/ in it: it is not changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newVolumeSite(t)
			host, file := s.volume("lun", 16<<20)
			command(t, host, test.command)
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

// lioReservation is what LIO tells of a disk: how often a key was registered or
// taken back since it is there, and by whom it is held and registered now.
func (s *site) lioReservation(l *LIO, disk string) (generation string, taken bool) {
	s.t.Helper()
	pr := lioDisks + "/" + disk + "/pr/"
	text := s.run(l.Guest, "cat "+pr+"res_holder "+pr+"res_pr_registered_i_pts")
	generation = s.run(l.Guest, "cat "+pr+"res_pr_generation")
	return generation, !strings.Contains(text, "No SPC-3 Reservation holder") || !regexp.MustCompile(`(?m)^None$`).MatchString(text)
}

// TestForeignLIO gives a node the number of a LUN that is another host's. It is
// refused without having registered a key. A volume of its own that turns out to
// be damaged behind the reservation is given back. When the operator names the
// file system it becomes the node's.
func TestForeignLIO(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("others", 16<<20)
	damaged, damagedFile := s.volume("damaged", 16<<20)
	command(t, host, "mkfs.ext4 -q -L photos -U "+othersID+" $F; "+othersFiles)
	command(t, damaged, "mkfs.ext4 -q -L sidusboot $F; debugfs -w -R 'clri <2>' $F; debugfs -w -R 'ssv state 0' $F")
	const other = "iqn.2013-09.org.sidusboot:damaged"
	server := s.lio(LUN{Target: nodeTarget, File: file}, LUN{Target: other, File: damagedFile})
	params := s.volumeParams(lioPortal + "sidus.mkfs=blank sidus.onerror=reboot panic=-1 ")
	node := GuestOptions{NICs: []NIC{{MAC: MAC(1)}}}

	before := sum(t, host)
	g := s.boot(params, node)
	s.says(g, "rw: rwlayer: /dev/sda", "there is home/ in it: it is not changed", "sidus.rw.adopt="+othersID)
	s.ends(g, Rebooted)
	if generation, taken := s.lioReservation(server, "lun0"); generation != "0x00000000" || taken {
		t.Errorf("another host's disk: generation %s, taken: %v", generation, taken)
	}
	if after := sum(t, host); after != before {
		t.Errorf("another host's disk was written to: %s before, %s after", before, after)
	}

	g = s.boot(params+"sidus.iscsi.target="+other, node)
	s.says(g, "exited with status 4 and left errors")
	s.ends(g, Rebooted)
	if generation, taken := s.lioReservation(server, "lun1"); generation == "0x00000000" || taken {
		t.Errorf("a damaged volume: generation %s, taken: %v, want it reserved and given back", generation, taken)
	}

	g = s.boot(params+"sidus.rw.adopt="+strings.ToUpper(othersID), node)
	s.same(g, []answer{
		{"cat /rw/home/thesis", "thesis"},
		{"echo mine >/root/mine; sync; cat /rw/upper/root/mine", "mine"},
		{"ls -A /look 2>/dev/null || true", ""},
	})
	if _, taken := s.lioReservation(server, "lun0"); !taken {
		t.Error("the adopted volume is not held")
	}
	g.Kill()
	// From now on it bears the node's mark.
	g = s.boot(params, node)
	s.same(g, []answer{{"cat /root/mine", "mine"}})
	g.Kill()
	checkVolume(t, host)
}

// TestForeignLook shows what looking into a file system leaves on it, for each
// kind, cut off while it was used: nothing. The node's own kernel looks.
func TestForeignLook(t *testing.T) {
	Soak(t)
	t.Parallel()
	s := newVolumeSite(t)
	s.image = s.build(lunProfile, "--module=xfs", "--module=btrfs")
	host, file := s.volume("lun", 320<<20)
	s.tgt(LUN{Target: nodeTarget, File: file})
	node := GuestOptions{NICs: []NIC{{MAC: MAC(1)}}}
	for _, kind := range []string{"xfs", "btrfs"} {
		if err := os.Truncate(host, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(host, 320<<20); err != nil {
			t.Fatal(err)
		}
		command(t, host, "mkfs."+kind+" -q $F")
		// It is empty, so the node takes it, and is cut off while it uses it.
		g := s.boot(s.volumeParams("sidus.mkfs=blank"), node)
		s.run(g, "mkdir /rw/home; echo thesis >/rw/home/thesis; sync")
		// Its directories are not the node's any more. A freeze brings that out of the
		// journal, which the look does not read; what is written behind it stays there.
		s.run(g, "mount --bind /rw /mnt; mv /mnt/upper /mnt/upper2; fsfreeze -f /rw; fsfreeze -u /rw; echo x >/mnt/home/unsynced; sync /mnt/home/unsynced; umount /mnt")
		g.Kill()
		before := sum(t, host)
		g = s.boot(s.volumeParams("sidus.onerror=reboot panic=-1"), node)
		s.says(g, "rw: rwlayer: /dev/sda", kind, "home/, upper2/, work/ in it: it is not changed")
		s.ends(g, Rebooted)
		if after := sum(t, host); after != before {
			t.Errorf("%s was written to: %s before, %s after", kind, before, after)
		}
	}
	// The images were made here; that both were still unclean shows that a replay
	// would have had something to do.
	if out, err := exec.Command("btrfs", "check", "--readonly", host).CombinedOutput(); err != nil {
		t.Errorf("btrfs check: %v, %s", err, out)
	}
}
