//go:build qemu

package qemutests

import (
	"testing"
	"time"
)

// TestRestartWithoutTarget takes the target away for good while /init runs on the
// volume, and has written to it: the kernel would hold that back for a day, but
// the node restarts by its policy.
func TestRestartWithoutTarget(t *testing.T) {
	t.Parallel()
	Soak(t) // Two minutes, most of it waits.
	s := newVolumeSite(t)
	s.boots(1, 4*time.Minute)
	_, file := s.volume("lun", 64<<20)
	target := s.tgt(LUN{Target: nodeTarget, File: file})
	g := s.boot(s.volumeParams("sidus.mkfs=blank sidus.timeout=5 sidus.onerror=reboot panic=-1 "), GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if _, err := g.WaitStage(s.ctx, "rw", Done); err != nil {
		t.Fatal(err)
	}
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	s.says(g, "no progress for", "reboot in 0s", "this node no longer waits for it", "its session is given up")
	s.ends(g, Rebooted)
}
