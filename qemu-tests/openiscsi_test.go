//go:build qemu

package qemutests

import (
	"testing"
	"time"
)

// openISCSI is a tree with Debian's open-iscsi, whose daemon is started at boot,
// and targetcli, whose service is not.
var openISCSI = Variant{
	Suite: "bookworm", Packages: []string{"open-iscsi", "targetcli-fb"},
	Script: "systemctl enable iscsid.service open-iscsi.service; systemctl disable rtslib-fb-targetctl.service",
}

// TestOpenISCSI starts the tree's own open-iscsi on a node with a LUN. iscsid
// takes the session over while the node writes, gets over an outage, and when it
// is stopped the keeper does. The scripts that log out at shutdown leave the
// session alone.
func TestOpenISCSI(t *testing.T) {
	t.Parallel()
	Soak(t) // A whole Debian, about what a tree's own iscsid does.
	s := newSiteOf(t, openISCSI)
	s.image = s.build(lunProfile)
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Router: ServerAddr})
	host, file := s.volume("lun", 64<<20)
	lun := LUN{Target: nodeTarget, File: file, User: nodeUser, Password: nodePassword}
	target := s.tgt(lun)
	g := s.boot(s.root("vers=3 ")+EventParam+" "+AgentParam+" sidus.rw=iscsi sidus.iscsi.lun=1 sidus.mkfs=blank"+
		" sidus.iscsi.user="+nodeUser+" sidus.iscsi.password="+nodePassword, GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.run(g, writer)
	failed, err := failedUnits(g, t)
	if err != nil || len(failed) > 0 {
		t.Fatalf("failed units %q, %v", failed, err)
	}
	const recovered = "journalctl -b -u iscsid --no-pager | grep -c 'connection1:0 is operational after recovery' || true"
	s.until(g, recovered, "1") // iscsid logs in again when it takes over.
	s.same(g, []answer{
		{"systemctl is-active iscsid open-iscsi", "active\nactive"},
		{"cat /etc/iscsi/initiatorname.iscsi", "InitiatorName=" + nodeInitiator(MAC(1))},
		// Not iscsid's own two minutes.
		{"cat /sys/class/iscsi_session/session1/recovery_tmo", "86400"},
		{"iscsiadm -m session | sed 's/ (.*//'", "tcp: [1] 10.77.0.1:3260,1 " + nodeTarget},
		{"dmesg | grep -c sidusboot-keeper: || true", "0"}, // It has nothing to say while iscsid runs.
		{"pgrep -c -f ^@sidusboot-keeper", "1"},
		{"grep -c ' Added by sidusboot' /etc/default/open-iscsi", "1"},
		{"setpriv --reuid=998 --clear-groups cat /sys/class/iscsi_session/session1/password 2>&1 | grep -c 'a-se[c]ret' || true", "0"},
	})

	again := func() {
		t.Helper()
		if err := target.Kill(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second) // The outage itself.
		target = s.tgt(lun)
		s.goesOn(g)
	}
	again()
	s.until(g, recovered, "2")
	s.same(g, []answer{{"dmesg | grep -c sidusboot-keeper: || true", "0"}})

	s.run(g, "systemctl stop iscsid.socket iscsid.service; sleep 6")
	s.run(g, writer)
	again()
	s.keeperSays(g, "logged in again after")

	s.shutsDown(g, "poweroff", PoweredOff)
	s.silentAfter(g, "the test says poweroff", "I/O error")
	clean(t, host)
}
