//go:build qemu

package qemutests

import (
	"testing"
	"time"
)

// TestSlowCheck boots a node whose disk is so slow that its check takes longer
// than a stage may be without progress: it is not cut, and the console says how
// far it is.
func TestSlowCheck(t *testing.T) {
	t.Parallel()
	Soak(t) // Two minutes, most of it waits.
	s := newSite(t, "bookworm")
	s.image = s.build("--profile=disk")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Router: ServerAddr})
	host, file := s.volume("disk", 512<<20)
	// Inode tables of 16 MiB, all of which are read, as the file system is due.
	command(t, host, "mkfs.ext4 -q -O ^uninit_bg,^metadata_csum -E lazy_itable_init=0 -N 65536 -L node-0A4D000B $F; tune2fs -c 2 -C 9 $F")
	g := s.boot(s.diskParams("sidus.timeout=10 sidus.onerror=reboot panic=-1"), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}, QEMU: []string{
		"-drive", "id=disk,if=none,format=raw,throttling.bps-total=180000,file=" + file, "-device", "virtio-blk-pci,drive=disk",
	}})
	s.says(g, "rw: waiting for /dev/vda: its check by fsck, pass 1 of 5, ", "; its disk has read ", "(1m5", "handing over")
	e, err := g.WaitStage(s.ctx, "rw", Done)
	if err != nil || e.Took < 70*time.Second {
		t.Errorf("the stage took %v, %v: too short for this test", e.Took, err)
	}
	if r := s.report(g); r.Attempts != 1 || r.RW.Kind != "device" {
		t.Errorf("%d attempts, rw %+v", r.Attempts, r.RW)
	}
}
