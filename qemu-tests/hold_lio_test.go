//go:build qemu

package qemutests

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// nothingReserved checks in LIO's configfs that the n-th LUN has no holder, and
// that it had one before: each registration and each end of one counts.
func (s *site) nothingReserved(l *LIO, n int) {
	s.t.Helper()
	got := s.run(l.Guest, fmt.Sprintf("cd %s/lun%d/pr; cat res_holder res_pr_registered_i_pts res_pr_generation", lioDisks, n))
	if !strings.Contains(got, "No SPC-3 Reservation holder") || !strings.Contains(got, "None") || strings.Contains(got, "iqn.") {
		s.t.Errorf("LIO still has %q", got)
	}
	if strings.Contains(got, "0x00000000") {
		s.t.Errorf("no node has reserved anything: %q", got)
	}
}

// TestLIOGivesBack has a node fail behind the reservation of its volume: in the
// check of its file system, and when it is mounted and the kernel has no such
// union. Each time LIO has nothing of the node any more. Then the volume
// is another machine's, without a takeover.
func TestLIOGivesBack(t *testing.T) {
	t.Parallel()
	s := newVolumeSite(t)
	host, file := s.volume("lun", 32<<20)
	command(t, host, "mkfs.ext4 -q -L sidusboot $F; debugfs -w -R 'clri <2>' $F; debugfs -w -R 'ssv state 0' $F")
	server := s.lio(LUN{Target: nodeTarget, File: file})
	params := s.volumeParams(lioPortal + "sidus.mkfs=blank sidus.onerror=reboot panic=-1 sidus.iscsi.target=" + nodeTarget + " ")
	node := GuestOptions{NICs: []NIC{{MAC: MAC(1)}}}

	g := s.boot(params, node)
	s.says(g, "rw: ", "exited with status 4 and left errors")
	s.ends(g, Rebooted)
	s.nothingReserved(server, 0)

	if err := os.WriteFile(host, make([]byte, 32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	g = s.boot(params+"sidus.union=aufs", node)
	s.says(g, "union: ")
	s.ends(g, Rebooted)
	s.nothingReserved(server, 0)

	g = s.boot(params, GuestOptions{Name: "second", NICs: []NIC{{MAC: MAC(2)}}})
	if r := s.report(g); r.RW.Made || r.RW.Kind != "iscsi" || r.Attempts != 1 {
		t.Errorf("rw %+v in attempt %d", r.RW, r.Attempts)
	}
	if held := s.run(server.Guest, "cat "+lioDisks+"/lun0/pr/res_holder"); !strings.Contains(held, nodeInitiator(MAC(2))) {
		t.Errorf("LIO says %q", held)
	}
	g.Kill()
}
