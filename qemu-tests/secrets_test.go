//go:build qemu

package qemutests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTwoVolumes boots two nodes side by side, each on the LUN that bears its
// address, by accounts that the image has: one for a MAC, with a proof of the
// target, and one for everybody else. Then no secret is to be found on the nodes,
// which have none on their command line.
func TestTwoVolumes(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.boots(2, siteTime)
	const (
		leftAddr, rightAddr = "10.77.0.21", "10.77.0.22"
		leftMAC, rightMAC   = "52:54:00:77:01:21", "52:54:00:77:01:22"
		prefix              = "iqn.2013-09.org.sidusboot:"
	)
	secrets := filepath.Join(t.TempDir(), "secrets")
	text := fmt.Sprintf("# MATCH USER PASSWORD USER_IN PASSWORD_IN\n%s left only-for-the-left tgt proof-of-target-1\ndefault node for-all-the-others\n", leftMAC)
	if err := os.WriteFile(secrets, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.image = s.build(lunProfile, "--secrets="+secrets)
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Hosts: []DHCPHost{{MAC: leftMAC, Addr: leftAddr, Name: "left"}, {MAC: rightMAC, Addr: rightAddr, Name: "right"}}})
	leftHost, leftFile := s.volume("left-lun", 64<<20)
	rightHost, rightFile := s.volume("right-lun", 64<<20)
	s.tgt(
		LUN{Target: prefix + leftAddr, File: leftFile, User: "left", Password: "only-for-the-left", UserIn: "tgt", PasswordIn: "proof-of-target-1"},
		LUN{Target: prefix + rightAddr, File: rightFile, User: "node", Password: "for-all-the-others"},
	)
	params := s.volumeParams("sidus.mkfs=blank")
	left := s.boot(params, GuestOptions{Name: "left", NICs: []NIC{{MAC: leftMAC}}})
	right := s.boot(params, GuestOptions{Name: "right", NICs: []NIC{{MAC: rightMAC}}})
	uuids := map[string]bool{}
	for _, node := range []struct {
		g    *Guest
		name string
	}{{left, "left"}, {right, "right"}} {
		r := s.report(node.g)
		if !r.RW.Made || r.RW.Kind != "iscsi" || len(r.Notes) > 0 {
			t.Errorf("%s: rw %+v, notes %q", node.name, r.RW, r.Notes)
		}
		uuids[r.RW.UUID] = true
		s.same(node.g, []answer{
			{"hostname", node.name},
			{"hostname >/root/own; sync; cat /rw/upper/root/own", node.name},
		})
		s.noSecrets(node.g, "only-for-the-left", "proof-of-target-1", "for-all-the-others")
	}
	if len(uuids) != 2 {
		t.Errorf("two volumes have the identities %v", uuids)
	}
	left.Kill()
	right.Kill()
	for name, host := range map[string]string{"left": leftHost, "right": rightHost} {
		checkVolume(t, host)
		if out, err := exec.Command("debugfs", "-R", "cat /upper/root/own", host).Output(); err != nil || string(out) != name+"\n" {
			t.Errorf("the volume of %s belongs to %q, %v", name, out, err)
		}
	}
}

// noSecrets looks for secrets in all that a program or a person on the node can
// read, and at the one process that has to know them.
func (s *site) noSecrets(g *Guest, secrets ...string) {
	s.t.Helper()
	// With brackets the expression does not find itself.
	var patterns []string
	for _, secret := range secrets {
		patterns = append(patterns, secret[:1]+"["+secret[1:2]+"]"+secret[2:])
	}
	expr := strings.Join(patterns, `\|`)
	found := s.run(g, fmt.Sprintf(`
{ find /run -xdev -type f; find /run/initramfs -xdev -type f; ls /proc/[0-9]*/environ /proc/[0-9]*/cmdline; } >/tmp/files
wc -l </tmp/files
xargs grep -la -e '%[1]s' </tmp/files 2>/dev/null
dmesg | grep -e '%[1]s'
grep -e '%[1]s' /proc/cmdline /ro/etc/sidusboot.secrets /etc/sidusboot.secrets 2>/dev/null
true`, expr))
	if n, rest, _ := strings.Cut(found, "\n"); len(n) < 2 || rest != "" {
		s.t.Errorf("of %s files, these have a secret: %q", n, rest)
	}
	// The search can find something.
	s.same(g, []answer{{"xargs grep -la 'iqn[.]2013' </tmp/files 2>/dev/null | grep -c -x -e /run/initramfs/session -e /run/sidusboot/boot.json", "2"}})
	keeper := "/proc/$(pgrep -f ^@sidusboot-keeper)"
	s.same(g, []answer{
		{"awk '/Max core file size/ { print $5, $6 }' " + keeper + "/limits", "0 0"},
		{"cat " + keeper + "/oom_score_adj", "-1000"},
		{"test $(awk '/VmLck/ { print $2 }' " + keeper + "/status) -gt 1000 && echo locked", "locked"},
		{"tr '\\0' ' ' <" + keeper + "/cmdline", "@sidusboot-keeper"},
		{"readlink " + keeper + "/root", "/"},
		{"ls " + keeper + "/fd | wc -l | awk '{ print ($1 < 16) }'", "1"},
	})
}
