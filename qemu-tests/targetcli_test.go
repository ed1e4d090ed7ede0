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

// documented returns the commands of a chapter of docs/operations.md, which are
// indented there, up to the next chapter.
func documented(t *testing.T, chapter string) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "\n### "+chapter+"\n")
	if !found {
		t.Fatalf("docs/operations.md has no chapter %q", chapter)
	}
	after, _, _ = strings.Cut(after, "\n### ")
	var commands []string
	for line := range strings.Lines(after) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}

// TestTargetcli sets a LIO server up by targetcli, with the commands that the
// documentation tells people to type and those that initrdgen secrets prints. A
// node makes its volume there, with the password that its image has.
func TestTargetcli(t *testing.T) {
	t.Parallel()
	s := newSiteOf(t, openISCSI)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("site.key", "the key of the site, for a test")
	nodes := write("room.nodes", NodeAddr+" "+MAC(1)+"\n")
	secrets := func(format string) string {
		t.Helper()
		out, err := exec.Command("../bin/initrdgen", "secrets", "--key", key, "--nodes-from", nodes, "--format", format).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	s.image = s.build(lunProfile, "--secrets="+write("room.secrets", secrets("image")))
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})

	server := s.boot(fmt.Sprintf("%s ip=%s::%s:24:lio:eth0:none quiet init=%s", s.root("vers=3 "), LIOAddr, ServerAddr, AgentInit),
		GuestOptions{Name: "lio", NICs: []NIC{{MAC: MAC(99)}}, Memory: 1024})
	var shell, targetcli []string
	for _, command := range documented(t, "A target, with LIO") {
		command = strings.NewReplacer("10.0.0.7", NodeAddr, "52:54:00:12:34:56", MAC(1), "20G", "64M").Replace(command)
		if cli, ok := strings.CutPrefix(command, "targetcli "); ok {
			targetcli = append(targetcli, cli) // All in one go: each takes seconds to start.
		} else if !strings.HasPrefix(command, "apt ") {
			shell = append(shell, command)
		}
	}
	if len(shell) < 2 || len(targetcli) < 5 {
		t.Fatalf("the documentation has the commands %q and, for targetcli, %q", shell, targetcli)
	}
	// targetcli asks on the system bus for other backstores, and ends without one.
	server.leave()
	s.run(server, "mkdir -p /run/dbus && dbus-daemon --system --fork")
	out := s.run(server, "set -e\n"+strings.Join(shell, "\n")+"\ntargetcli <<'EOF' 2>&1\n"+strings.Join(targetcli, "\n")+"\n"+secrets("lio")+"EOF")
	t.Logf("targetcli: %s", out)

	g := s.boot(s.root("vers=3 ")+probeParams+" sidus.rw=iscsi sidus.mkfs=blank"+lioPortal, GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if r := s.report(g); !r.RW.Made || r.RW.Kind != "iscsi" || r.Attempts != 1 {
		t.Errorf("rw %+v in attempt %d", r.RW, r.Attempts)
	}
	s.silentAfter(g, "Run /init", "cannot save which node")
	s.run(g, "echo x >/root/x; sync")
	// What docs/operations.md says to look at.
	if held := s.run(server, "cat "+lioDir+"/core/*/node7/pr/res_holder; ls /etc/rtslib-fb-target/pr"); !strings.Contains(held, nodeInitiator(MAC(1))) || !strings.Contains(held, "aptpl_") {
		t.Errorf("LIO says %q", held)
	}
	s.run(server, "targetcli sessions list | grep LOGGED_IN")
}
