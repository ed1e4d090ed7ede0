//go:build qemu

package qemutests

import (
	"os/exec"
	"strings"
	"testing"
)

// command runs a shell script on the host for a volume, which is $F.
func command(t *testing.T, host, script string) {
	t.Helper()
	out, err := exec.Command("sh", "-ec", strings.ReplaceAll(script, "$F", host)).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// TestVolumeMadeBefore boots nodes on volumes whose file system another machine has
// made: an xfs and an ext4 are used as they are.
func TestVolumeMadeBefore(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	s.image = s.build(lunProfile, "--module=xfs")
	host, file := s.volume("lun", 512<<20)
	command(t, host, "mkfs.xfs -q -L mine $F")
	s.tgt(LUN{Target: nodeTarget, File: file})
	g := s.boot(s.volumeParams("sidus.mkfs=blank"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.same(g, []answer{
		{"findmnt -n -o FSTYPE,LABEL -M /rw | tr -s ' '", "xfs mine"},
		{"touch /etc/there && ls /rw/upper/etc/there", "/rw/upper/etc/there"},
	})
	if r := s.report(g); r.RW.Made || r.RW.Filesystem != "xfs" || r.RW.Kind != "iscsi" {
		t.Errorf("rw %+v", r.RW)
	}
}

// TestVolumeDamaged offers a volume that fsck cannot mend by itself, and one that
// can be mounted but not written. The first is refused, and named with what to
// do. With sidus.rw.fallback=tmpfs the node boots without, loudly, and nothing of
// the volume stays mounted.
func TestVolumeDamaged(t *testing.T) {
	t.Parallel()
	Require(t)
	// Without a root directory, and not marked as clean, so that fsck looks.
	for name, test := range map[string]struct{ damage, params, says string }{
		"refused":  {"debugfs -w -R 'clri <2>' $F; debugfs -w -R 'ssv state 0' $F", "sidus.onerror=reboot panic=-1", "fsck.ext4"},
		"readOnly": {"tune2fs -O read-only $F", "sidus.rw.fallback=tmpfs", "read-only file system"},
		"absent":   {"true", "sidus.rw.fallback=tmpfs sidus.iscsi.target=iqn.2013-09.org.sidusboot:other", "no such target"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newVolumeSite(t)
			host, file := s.volume("lun", 16<<20)
			command(t, host, "mkfs.ext4 -q -L sidusboot $F; "+test.damage)
			s.tgt(LUN{Target: nodeTarget, File: file})
			g := s.boot(s.volumeParams(test.params), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
			s.says(g, "rw: ", test.says)
			if name == "refused" {
				s.says(g, "LUN 1 of "+nodeTarget, "exited with status 4 and left errors: it is not mounted; run e2fsck -f on the volume on its server", "UNEXPECTED INCONSISTENCY")
				s.ends(g, Rebooted)
				return
			}
			s.says(g, "a tmpfs instead (sidus.rw.fallback=tmpfs): WHAT THIS NODE WRITES IS LOST AT ITS NEXT BOOT")
			s.same(g, []answer{
				{"findmnt -n -o FSTYPE -M /rw", "tmpfs"},
				{"grep -c ext4 /proc/mounts || true", "0"},
				{"ls /sys/class/iscsi_session | wc -l", "0"},
				// What stays resident keeps the lease, and has no session to end.
				{"ls /run/initramfs | grep -x -e shutdown -e session || true", ""},
			})
			if r := s.report(g); r.RW.Kind != "tmpfs" || !r.failedWith(test.says) {
				t.Errorf("rw %+v, failures %q", r.RW, r.Failures)
			}
		})
	}
}

// TestLocalDisk boots a node twice with its layer on a disk of its own, found by a
// label that is made of its address: once on a SATA controller, with another disk
// beside it, once as a virtio disk.
func TestLocalDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.image = s.build("--profile=disk")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	host, file := s.volume("disk", 64<<20)
	command(t, host, "mkfs.ext4 -q -L node-0A4D000B $F")
	_, other := s.volume("other", 64<<20)
	with := func(device ...string) GuestOptions {
		return GuestOptions{NICs: []NIC{{MAC: MAC(1)}}, QEMU: append(device,
			"-drive", "id=disk,if=none,format=raw,file="+file, "-drive", "id=other,if=none,format=raw,file="+other)}
	}
	params := s.root("vers=3 ") + "sidus.rw=LABEL=node-%I "
	g := s.boot(params+smallParams, with("-device", "virtio-blk-pci,drive=other", "-device", "ahci,id=sata", "-device", "ide-hd,drive=disk,bus=sata.0"))
	if _, err := failedUnits(g, t); err != nil {
		t.Fatal(err)
	}
	s.same(g, []answer{
		{"findmnt -n -o SOURCE,FSTYPE -M /rw | tr -s ' '", "/dev/sda ext4"},
		{"echo kept >/root/kept; cat /rw/upper/root/kept", "kept"},
	})
	if r := s.report(g); r.RW.Kind != "device" || r.RW.Made || r.Profile != "virtual,disk" {
		t.Errorf("rw %+v, profile %s", r.RW, r.Profile)
	}
	s.shutsDown(g, "poweroff", PoweredOff)
	clean(t, host)

	g = s.boot(params+probeParams, with("-device", "virtio-blk-pci,drive=disk"))
	s.same(g, []answer{{"cat /root/kept", "kept"}, {"findmnt -n -o SOURCE -M /rw", "/dev/vda"}})
}
