//go:build qemu

package qemutests

import (
	"os/exec"
	"strings"
	"testing"
)

// nodeTarget is the volume that bears the node's address, by default.
const nodeTarget = "iqn.2013-09.org.sidusboot:" + nodeAddr

// lunModules are what an image needs for a LUN.
var lunModules = []string{"--module=iscsi_tcp", "--module=sd_mod", "--module=ext4"}

// newVolumeSite is a site with a tree, addresses and images for LUNs.
func newVolumeSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t, "bookworm")
	s.image = s.build(lunModules...)
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
// the reboot leaves the file system clean, and the target has seen a logout.
func TestVolume(t *testing.T) {
	t.Parallel()
	Require(t)
	for name, sector := range map[string]int{"512": 512, "4096": 4096} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newVolumeSite(t)
			host, file := s.volume("lun", 64<<20)
			s.tgt(LUN{Target: nodeTarget, File: file, BlockSize: sector, User: "node", Password: "a-secret-of-16-b"})
			words := s.root("vers=3 ") + EventWord + " " + AgentWord +
				" sidus.rw=iscsi sidus.iscsi.lun=1 sidus.iscsi.user=node sidus.iscsi.password=a-secret-of-16-b sidus.mkfs=blank"
			var boots []string
			for boot := range 3 {
				g := s.boot(words, GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
				if _, err := failedUnits(g, t); err != nil {
					t.Fatal(err)
				}
				boots = append(boots, "boot")
				s.same(g, map[string]string{
					"findmnt -n -o FSTYPE -M /rw":                    "ext4",
					"echo boot >>/root/boots; sync; cat /root/boots": strings.Join(boots, "\n"),
					"cat /rw/upper/root/boots":                       strings.Join(boots, "\n"),
					"pgrep -c -f ^@sidusboot-keeper":                 "1",
				})
				made := boot == 0
				if r := s.report(g); r.RW.Kind != "iscsi" || r.RW.Made != made || r.RW.Filesystem != "ext4" {
					t.Errorf("boot %d: rw %+v, want ext4 on iSCSI, made: %v", boot, r.RW, made)
				}
				order := "the test says reboot"
				s.run(g, "echo '<3>sidusboot: "+order+"' >/dev/kmsg; systemctl --no-block reboot")
				s.ends(g, Rebooted)
				s.stopped(g, order, shutdownTime)
				if sessions, err := s.Output(s.ctx, "tgtadm", "--op", "show", "--mode", "conn", "--tid", "1"); err != nil || strings.TrimSpace(sessions) != "" {
					t.Errorf("after the reboot the target still has %q, %v: no logout", sessions, err)
				}
				if out, err := exec.Command("dumpe2fs", "-h", host).CombinedOutput(); err != nil || !strings.Contains(string(out), "Filesystem state:         clean\n") {
					t.Errorf("after the reboot: %v, %s", err, out)
				}
				if out, err := exec.Command("e2fsck", "-fn", host).CombinedOutput(); err != nil {
					t.Errorf("e2fsck -fn: %v, %s", err, out)
				}
			}
		})
	}
}
