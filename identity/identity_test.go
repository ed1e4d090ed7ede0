package identity

import (
	"fmt"
	"strings"
	"testing"
)

// Twenty machines have twenty identities.
func TestDerived(t *testing.T) {
	seen := map[string]string{}
	for i := range 20 {
		// Half of the boards tell the same UUID, as boards do whose maker never
		// set one.
		machine := fmt.Sprintf("sidusboot %08x-0000-0000-0000-000000000000 52:54:00:77:00:%02x", i/2*2, i)
		for kind, id := range map[string]string{
			"machine-id": MachineID(machine), "hostid": HostID(machine), "nvme": UUID("nvme", machine),
		} {
			if other, ok := seen[id]; ok {
				t.Errorf("%s of %s is that of %s", kind, machine, other)
			}
			seen[id] = kind + " of " + machine
		}
	}
	id := strings.TrimSpace(MachineID("x"))
	if len(id) != 32 || id[12] != '4' || !strings.Contains("89ab", id[16:17]) {
		t.Errorf("machine-id %s is no UUID of version 4", id)
	}
	if h := HostID("x"); len(h) != 4 || h == "\x00\x00\x00\x00" {
		t.Errorf("hostid %x", h)
	}
	// A change of the derivation would give every node of a room another name.
	const machine = "sidusboot u 52:54:00:77:00:01"
	if got := strings.TrimSpace(MachineID(machine)) + " " + UUID("nvme", machine); got !=
		"33a6abd56d7843c39d0fd0adbc14a9f3 402aa5fc-832e-496f-bb3e-52c8baacd753" {
		t.Errorf("%s is now %s", machine, got)
	}
}
