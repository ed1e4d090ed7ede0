//go:build qemu

package qemutests

import "strings"

// surroundings are what an update of a node must not harm: those who log in by ssh,
// the network manager, the DHCP server, and another node's LUN on the same portal.
type surroundings struct {
	*versionSite
	lun    string
	before string
	// keys are the fingerprints of the node's host keys, known is what ssh knows of
	// them.
	keys, known string
}

// spareTarget is blank, and no node's yet.
const spareTarget = "iqn.2013-09.org.sidusboot:spare"

// surroundings offers another node's LUN, beside which the node's own is missing. The
// image can use LUNs.
func (s *versionSite) surroundings() *surroundings {
	s.t.Helper()
	s.image = s.build(lunProfile)
	host, file := s.volume("other", 64<<20)
	command(s.t, host, "mkfs.ext4 -q -L sidusboot $F; echo thesis >$F.text; debugfs -w -R \"write $F.text thesis\" $F 2>/dev/null")
	_, spare := s.volume("spare", 64<<20)
	s.tgt(LUN{Target: "iqn.2013-09.org.sidusboot:10.77.0.99", File: file}, LUN{Target: spareTarget, File: spare})
	return &surroundings{versionSite: s, lun: host, before: sum(s.t, host)}
}

// first learns the host keys, as who logs in for the first time does.
func (a *surroundings) first(g *Guest) {
	a.t.Helper()
	a.says(g, "no such target", "a tmpfs instead (sidus.rw.fallback=tmpfs)")
	if out := a.run(g, login+" 2>&1"); !strings.HasSuffix(out, "in "+NodeName) {
		a.t.Errorf("ssh: %s", out)
	}
	a.keys, a.known = a.run(g, fingerprints), a.run(g, "cat /root/known")
	if len(strings.Fields(a.keys)) < 2 {
		a.t.Errorf("keys %q", a.keys)
	}
	a.manages(g)
}

// same checks what is to be as before: ssh takes the keys for the same machine's.
func (a *surroundings) same(g *Guest) {
	a.t.Helper()
	if failed, err := failedUnits(g, a.t); err != nil || len(failed) > 0 {
		a.t.Fatal(failed, err)
	}
	strict := strings.Replace(login, "StrictHostKeyChecking=accept-new", "StrictHostKeyChecking=yes", 1)
	if out := a.run(g, "echo "+quoted([]string{a.known})+" >/root/known; "+strict+" 2>&1"); !strings.HasSuffix(out, "in "+NodeName) {
		a.t.Errorf("ssh after an update: %s", out)
	}
	a.versionSite.same(g, []answer{{fingerprints, a.keys}})
	a.manages(g)
}

// manages checks that the network manager is there and leaves eth0 to sidusboot.
func (a *surroundings) manages(g *Guest) {
	a.t.Helper()
	a.run(g, "nm-online -s -q -t 120")
	a.versionSite.same(g, []answer{
		{"systemctl is-active NetworkManager.service ssh.service", "active\nactive"},
		{"nmcli -c no -t -f DEVICE,STATE,CONNECTION dev | grep ^eth", "eth0:connected:sidusboot eth0"},
		{"cat /sys/class/net/eth0/carrier_up_count; ip -o -4 addr show dev eth0 | wc -l", "1\n1"},
	})
}

// unharmed checks what others have seen: the DHCP server was asked for an address
// once, by /init, and renewals of it, and no byte of the other node's LUN is another one.
func (a *surroundings) unharmed() {
	a.t.Helper()
	if n := strings.Count(a.dhcp.Log(), "DHCPDISCOVER("); n != 1 {
		a.t.Errorf("DHCP was asked for an address %d times", n)
	}
	if sum(a.t, a.lun) != a.before {
		a.t.Errorf("the LUN of another node was written to")
	}
}
