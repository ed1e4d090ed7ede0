//go:build qemu

package qemutests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGCNFSD has the kernel's server remove the versions of a base that no node runs:
// it knows what a node runs by the files that it has open with version 4, and by
// what it has mounted with version 3. The server's exports are below a rootdir.
func TestGCNFSD(t *testing.T) {
	t.Parallel()
	Soak(t)
	dir := filepath.Join(t.TempDir(), "srv")
	s := &versionSite{site: newSite(t, "bookworm"), dir: filepath.Join(dir, "base")}
	s.site.dhcp(DHCPOptions{})
	s.base = newBase(t, s.dir, s.tree)
	for _, id := range []string{"v1", "v2", "v3"} {
		s.publish(id)
	}
	program, err := os.ReadFile("../bin/sidustree")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sidustree"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	server, err := s.StartNFSD(s.ctx, NFSDOptions{Tree: dir, Writable: true})
	if err != nil {
		t.Fatal(err)
	}
	boot := func(params string) *Guest {
		t.Helper()
		return s.boot("nfsroot="+NFSDAddr+":"+dir+"/base"+params+" "+probeParams, GuestOptions{})
	}
	sidustree := func(args string) string {
		t.Helper()
		return s.run(server.Guest, "cd /export"+dir+"; ./sidustree "+args+" 2>&1 || echo status $?")
	}
	// v1 and v2 are the same but for a file that the node has not opened.
	g := boot(",vers=4.2 sidus.version=v1")
	s.run(g, "sleep 1000 <"+unread+" >/dev/null 2>&1 &")
	if got := sidustree("list base"); !strings.Contains(got, "\nv1  ") {
		t.Errorf("list says %s", got)
	}
	want := "v2 removed\n1 removed, 2 kept"
	if got := sidustree("gc base --keep 1"); got != want {
		t.Errorf("version 4: gc says %s, want %s", got, want)
	}
	s.same(g, []answer{{"echo 3 >/proc/sys/vm/drop_caches; cat " + unread, "v1"}})
	g.Kill()
	// The server forgets what it knew of version 4.
	if err := server.Stop(s.ctx); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(s.ctx); err != nil {
		t.Fatal(err)
	}
	g = boot(",vers=3 sidus.version=v1")
	s.report(g)
	if got := sidustree("gc base --keep 1"); got != "0 removed, 2 kept" {
		t.Errorf("version 3: gc says %s", got)
	}
	g.Kill()
	// Without its line in rmtab nobody is known to run it.
	s.run(server.Guest, "grep -q :"+dir+"/base/versions/v1: /var/lib/nfs/rmtab; : >/var/lib/nfs/rmtab")
	if got := sidustree("gc base --keep 1"); got != "v1 removed\n1 removed, 1 kept" {
		t.Errorf("nobody runs it: gc says %s", got)
	}
	// What another server exports is not this one's to say.
	s.run(server.Guest, "exportfs -ua; rm -f /var/lib/nfs/rmtab")
	if got := sidustree("gc base --keep 1"); !strings.Contains(got, "does not export the base") || !strings.Contains(got, "status 1") {
		t.Errorf("not exported: gc says %s", got)
	}
}
