//go:build qemu

package qemutests

import (
	"testing"
	"time"
)

// TestTakenWriter takes the volume, on tgt, from a node that writes: the target
// is restarted, so that it forgets, while the node is paused in the middle of
// its writing, and another node boots on the volume and is cut off. When the
// first one comes back nothing of what it has to write reaches the volume: not
// in the seconds that it takes to find out, and not later. The second has its
// volume again without a takeover. Before that, the first gets over a restart of
// the target while no other node is there.
func TestTakenWriter(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 64<<20)
	lun := LUN{Target: nodeTarget, File: file}
	target := s.tgt(lun)
	restart := func() {
		t.Helper()
		if err := target.Kill(); err != nil {
			t.Fatal(err)
		}
		target = s.tgt(lun)
	}
	params := s.volumeParams("sidus.mkfs=blank quiet sidus.iscsi.target=" + nodeTarget)
	first := s.boot(params, GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})

	s.run(first, "echo one >/root/mine; sync")
	restart()
	s.keeperSays(first, "logged in again after")
	s.same(first, []answer{{"echo two >>/root/mine && sync && cat /sys/block/sda/device/state", "running"}})

	s.run(first, writer)
	if err := first.Pause(s.ctx); err != nil {
		t.Fatal(err)
	}
	restart()
	second := s.boot(params, GuestOptions{Name: "second", NICs: []NIC{{MAC: MAC(2)}}})
	s.run(second, "echo three >>/root/mine; sync")
	second.Kill()
	before := sum(t, host)

	if err := first.Resume(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.keeperSays(first, "ANOTHER NODE HAS TAKEN THE VOLUME")
	s.same(first, []answer{{"ls /sys/class/iscsi_session | wc -l", "0"}})
	time.Sleep(5 * time.Second) // In which it could still write.
	first.Kill()
	if after := sum(t, host); after != before {
		t.Errorf("the node whose volume was taken has written to it: %s before, %s after", before, after)
	}
	second = s.boot(params, GuestOptions{Name: "second", NICs: []NIC{{MAC: MAC(2)}}})
	s.same(second, []answer{{"cat /root/mine", "one\ntwo\nthree"}})
	second.Kill()
	checkVolume(t, host)
}
