//go:build qemu

package qemutests

import (
	"strings"
	"testing"
)

// fill takes every byte of a node's layer, and every inode where there are few.
// Root may take all that there is. What ext4 has set aside for a write that it
// delays is free again after a sync.
const fill = `true >>/root/fill; i=$(ls /root | wc -l); while [ $i -lt 600 ] && true 2>/dev/null >/root/inode$i; do i=$((i+1)); done
for n in 1 2 3 4; do cat /dev/zero >>/root/fill 2>/dev/null; sync; done
while dd if=/dev/zero bs=1024 count=1 >>/root/fill 2>/dev/null; do :; done; sync
if echo x 2>/dev/null >/root/full.test; then echo room; else echo full; fi`

// TestFullVolume fills a node's LUN to the last byte, again and again: it boots
// each time, says how full the volume is, and loses nothing.
func TestFullVolume(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	_, file := s.volume("lun", 48<<20)
	s.tgt(LUN{Target: nodeTarget, File: file})
	params := s.volumeParams("sidus.mkfs=blank sidus.onerror=reboot panic=-1")
	node := GuestOptions{NICs: []NIC{{MAC: MAC(1)}}}
	before := ""
	for boot := range 3 {
		g := s.boot(params, node)
		if boot > 0 {
			s.says(g, "THE VOLUME /dev/sda (LUN 1 of "+nodeTarget+") IS FULL: 100 % of ", "handing over")
		}
		r := s.report(g)
		if r.Attempts != 1 || r.RW.Full != (boot > 0) || !strings.Contains(r.RW.Usage, " MiB used") {
			t.Errorf("boot %d: %d attempts, rw %+v", boot, r.Attempts, r.RW)
		}
		s.same(g, []answer{
			{"findmnt -n -o FSTYPE -M /rw", "ext4"},
			{"cat /root/own 2>/dev/null || true", before},
			{"cat /etc/hostname", NodeName},
			{"test -s /rw/.sidusboot-spare/space && echo kept", "kept"},
			{"echo room for the system >/root/room && cat /root/room", "room for the system"},
			{"ls /rw/.sidusboot-spare | grep -c -v space | grep -qx 0 || echo", ""},
		})
		if boot == 0 {
			s.run(g, "echo precious >/root/own")
			before = "precious"
		}
		s.same(g, []answer{{fill, "full"}})
		g.Kill()
	}
}

// TestFullDisk boots a node from a disk that was filled before a spare was kept
// on it, its inodes too: it boots with all that was kept, and when something is deleted below /rw all is well.
// With sidus.rw.fallback=tmpfs it boots with a tmpfs.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.image = s.build("--profile=disk")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Router: ServerAddr})
	host, file := s.volume("disk", 32<<20)
	command(t, host, "mkfs.ext4 -q -N 512 -L node-0A4D000B $F")
	g := s.boot(s.diskParams(""), localDisk(file))
	s.run(g, "echo precious >/root/own; rm -r /rw/.sidusboot-spare")
	s.same(g, []answer{{fill, "full"}, {"df --output=iavail,avail /rw | tail -1 | tr -s ' '", "0 0"}})
	g.Kill()

	g = s.boot(s.diskParams("sidus.rw.fallback=tmpfs"), localDisk(file))
	s.says(g, "IS FULL: 100 % of ", "no space left on device", "WHAT THIS NODE WRITES IS LOST AT ITS NEXT BOOT")
	if r := s.report(g); r.RW.Kind != "tmpfs" || !r.failedWith("no space left on device") {
		t.Errorf("rw %+v, failures %q", r.RW, r.Failures)
	}
	g.Kill()

	g = s.boot(s.diskParams("sidus.onerror=reboot panic=-1"), localDisk(file))
	s.says(g, "IS FULL: 100 % of ", "0 of 512 inodes free", "a tmpfs is used over it", "handing over")
	s.same(g, []answer{
		{"cat /root/own", "precious"},
		{"echo new >/root/new && cat /root/new; test -e /rw/upper/root/new || echo lost", "new\nlost"},
		{"findmnt -n -o FSTYPE -M /rw", "ext4"},
	})
	s.run(g, "rm /rw/upper/root/fill /rw/upper/root/inode*; sync")
	g.Kill()

	g = s.boot(s.diskParams("sidus.onerror=reboot panic=-1"), localDisk(file))
	s.same(g, []answer{{"cat /root/own", "precious"}, {"ls /rw/.sidusboot-spare | wc -l", "129"}})
	s.silent(g, "IS FULL")
}
