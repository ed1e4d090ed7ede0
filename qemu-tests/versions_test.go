//go:build qemu

package qemutests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/versions"
)

// TestVersions boots nodes from a base. Each runs the version that was current
// when it came up, or the one that it was told to take, and what is published
// meanwhile changes nothing for it.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.dhcp(DHCPOptions{})
	dir := filepath.Join(t.TempDir(), "base")
	base := newBase(t, dir, s.tree)
	publish := func(id string) {
		t.Helper()
		if _, err := base.Publish(t.Context(), versions.PublishOptions{ID: id, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	const lower, unread = "/usr/share/sidusboot-test/lower", "/usr/share/sidusboot-test/unread"
	write := func(name, text string) {
		t.Helper()
		// As dpkg does it: a new file, renamed over the old one.
		path := filepath.Join(dir, "staging", name)
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(unread, "a\n")
	publish("a")
	// What ganesha knows of a directory or a link it keeps for a minute, unless
	// it is told otherwise (docs/updates.md).
	ganesha := NFSOptions{Exports: []Export{{Path: dir}}, Config: "EXPORT_DEFAULTS { Attr_Expiration_Time = 0; }"}
	if _, err := s.StartNFS(s.ctx, ganesha); err != nil {
		t.Fatal(err)
	}
	params := "nfsroot=" + ServerAddr + ":" + dir + " " + probeParams + " "
	node := s.boot(params, GuestOptions{})
	s.same(node, []answer{{"cat " + lower, "from the shared tree"}})
	if r := s.report(node); r.Root.TreeVersion != "a" || !strings.HasSuffix(r.Root.Source, dir+"/versions/a") || !strings.Contains(r.Root.Options, "nocto,actimeo=86400") {
		t.Errorf("root %+v, want version a", r.Root)
	}
	write(lower, "changed\n")
	write(unread, "b\n")
	publish("b")
	s.same(node, []answer{{"cat " + lower, "from the shared tree"}, {"cat " + unread, "a"}})
	// A file that was used and is replaced is stale on a plain tree after a
	// minute at most; what the kernel remembers is dropped here instead.
	s.same(node, []answer{{"echo 3 >/proc/sys/vm/drop_caches; cat " + lower + " " + unread, "from the shared tree\na"}})
	// nfs-ganesha does not tell which version the node runs: nothing is removed.
	if out, err := sidustree(s.ctx, "gc", dir, "--keep=1"); err == nil || !strings.Contains(out, "it is not known which nodes run which version") {
		t.Errorf("gc beside nfs-ganesha: %v, %s", err, out)
	}
	if out, err := sidustree(s.ctx, "list", dir); err != nil || !strings.Contains(out, "0 ?") {
		t.Errorf("list beside nfs-ganesha: %v, %s", err, out)
	}
	node.Kill()

	// What is not there is said by name, and tried again: so it is enough to
	// publish it.
	pinned := s.boot(params+"sidus.version=c sidus.timeout=5", GuestOptions{})
	if _, err := pinned.Expect(s.ctx, "there is no version c: there are a, b"); err != nil {
		t.Fatal(err)
	}
	publish("c")
	if _, _, err := base.Rollback("b"); err != nil {
		t.Fatal(err)
	}
	s.same(pinned, []answer{{"cat " + unread, "b"}})
	if r := s.report(pinned); r.Root.TreeVersion != "c" {
		t.Errorf("root %+v, want version c", r.Root)
	}
	pinned.Kill()

	next := s.boot(params, GuestOptions{})
	s.same(next, []answer{{"cat " + lower + " " + unread, "changed\nb"}})
	next.Kill()
}
