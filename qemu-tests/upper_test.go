//go:build qemu

package qemutests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/versions"
)

// noted tells whether boot.json has a note with all of the texts.
func (r bootReport) noted(texts ...string) bool {
	return slices.ContainsFunc(r.Notes, func(note string) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(note, text) })
	})
}

// TestOtherVersion boots a node whose layer is kept on a LUN, and was begun on
// version a, on version b under each policy of sidus.rw.mismatch=, and empties it
// by sidus.rw.reset=, once for each token. Then it boots it on a plain tree that
// changes. In a soak a disk takes the place of the LUN as well.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	Require(t)
	t.Run("LUN", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, "bookworm")
		s.image = s.build(lunProfile)
		host, file := s.volume("lun", 64<<20)
		s.tgt(LUN{Target: nodeTarget, File: file, User: "node", Password: "a-secret-of-16-b"})
		s.otherVersion(host, "sidus.rw=iscsi sidus.iscsi.lun=1 sidus.iscsi.user=node sidus.iscsi.password=a-secret-of-16-b sidus.mkfs=blank",
			GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	})
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		Soak(t)
		s := newSite(t, "bookworm")
		s.image = s.build("--profile=disk")
		host, file := s.volume("disk", 64<<20)
		command(t, host, "mkfs.ext4 -q -L mine $F")
		s.otherVersion(host, "sidus.rw=LABEL=mine", localDisk(file))
	})
}

// otherVersion is TestOtherVersion for a volume, with the parameters and the
// machine for it.
func (s *site) otherVersion(host, rw string, machine GuestOptions) {
	t := s.t
	t.Helper()
	s.dhcp(DHCPOptions{})
	dir := filepath.Join(t.TempDir(), "base")
	base := newBase(t, dir, s.tree)
	// As useradd and dpkg do it: a new file, renamed over the old one.
	change := func() {
		t.Helper()
		for _, name := range []string{"etc/passwd", "var/lib/dpkg/status"} {
			path := filepath.Join(dir, "staging", name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+".new", append(text, "\n"...), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range []string{"a", "b"} {
		change()
		if _, err := base.Publish(t.Context(), versions.PublishOptions{ID: id, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.StartNFS(s.ctx, NFSOptions{Exports: []Export{{Path: dir}}, Config: "EXPORT_DEFAULTS { Attr_Expiration_Time = 0; }"}); err != nil {
		t.Fatal(err)
	}
	exported, params := dir, ",vers=3 "+probeParams+" "+rw+" "
	node := func(more string) *Guest {
		t.Helper()
		return s.boot("nfsroot="+ServerAddr+":"+exported+params+more, machine)
	}
	off := func(g *Guest) {
		s.run(g, "sync")
		g.Kill()
	}

	g := node("sidus.version=a")
	s.run(g, "echo thesis >/root/mine; echo 'me:x:1000:1000::/:/bin/sh' >>/etc/passwd; echo >>/var/lib/dpkg/status")
	if r := s.report(g); r.RW.Begun != "" || len(r.Notes) > 0 {
		t.Errorf("the first boot: rw %+v, notes %q", r.RW, r.Notes)
	}
	off(g)

	// Kept, and said again at each boot, with what is hidden. /usr may be the tree's own.
	g = node("sidus.version=b sidus.usr=direct")
	s.same(g, []answer{
		{"cat /root/mine", "thesis"},
		{"grep -c ^me: /etc/passwd; grep -c ^me: /ro/etc/passwd || true", "1\n0"},
		{"findmnt -n -o FSTYPE /usr", "nfs"},
	})
	if r := s.report(g); r.RW.Begun != "a" || !r.noted("was made over the tree a, but this boot's tree is b: it hides the tree's /var/lib/dpkg/status, /etc/passwd: sidus.rw.mismatch=archive") {
		t.Errorf("kept: rw %+v, notes %q", r.RW, r.Notes)
	}
	off(g)

	g = node("sidus.version=b sidus.rw.mismatch=stop sidus.onerror=reboot panic=-1")
	s.says(g, "rw: rwlayer: the upper layer of this node's volume was made over the tree a, but this boot's tree is b", "see sidus.version= and sidus.rw.mismatch=")
	s.ends(g, Rebooted)

	g = node("sidus.version=b sidus.rw.mismatch=archive")
	r := s.report(g)
	if !strings.HasPrefix(r.RW.Archived, "upper-a-") || !r.noted("and is /rw/"+r.RW.Archived+" now") {
		t.Fatalf("archived: rw %+v, notes %q", r.RW, r.Notes)
	}
	s.same(g, []answer{
		{"ls /root/mine 2>/dev/null || true", ""},
		{"grep -c ^me: /etc/passwd || true", "0"},
		{"cat /rw/" + r.RW.Archived + "/root/mine; echo two >/root/two; uname", "thesis\nLinux"},
	})
	off(g)

	// That of b is deleted on a; the archived one of a stays where it is.
	g = node("sidus.version=a sidus.rw.mismatch=reset")
	s.same(g, []answer{
		{"ls /root/two 2>/dev/null || true", ""},
		{"cat /rw/" + r.RW.Archived + "/root/mine", "thesis"},
		{"ls -A /rw | grep -c sidusboot-reset || true", "0"},
		{"echo three >/root/three; findmnt -n -o FSTYPE -M /rw", "ext4"},
	})
	if r := s.report(g); !r.noted("made over the tree b, was emptied (sidus.rw.mismatch=reset)") {
		t.Errorf("reset: notes %q", r.Notes)
	}
	off(g)

	for _, boot := range []struct{ token, want string }{{"1", ""}, {"1", "four"}} {
		g = node("sidus.version=a sidus.rw.reset=" + boot.token)
		s.same(g, []answer{{"cat /root/* 2>/dev/null || true", boot.want}})
		s.run(g, "echo four >/root/four")
		off(g)
	}

	// A plain tree that changes is another one, too.
	exported = filepath.Join(dir, "staging")
	g = node("sidus.rw.mismatch=reset")
	s.run(g, "echo plain >/root/plain; echo >>/var/lib/dpkg/status")
	off(g)
	g = node("sidus.rw.mismatch=stop")
	s.same(g, []answer{{"cat /root/*", "plain"}})
	if r := s.report(g); !strings.HasPrefix(r.RW.Begun, "plain-") || len(r.Notes) > 0 {
		t.Errorf("the same plain tree: rw %+v, notes %q", r.RW, r.Notes)
	}
	off(g)
	change()
	g = node("")
	s.same(g, []answer{{"cat /root/*", "plain"}})
	if r := s.report(g); !r.noted("was made over the tree plain-", "it hides the tree's /var/lib/dpkg/status") {
		t.Errorf("a changed plain tree: rw %+v, notes %q", r.RW, r.Notes)
	}
	off(g)
	g = node("sidus.rw.mismatch=archive")
	r = s.report(g)
	s.same(g, []answer{{"ls /root; cat /rw/" + r.RW.Archived + "/root/plain", "plain"}})
	if !strings.HasPrefix(r.RW.Archived, "upper-plain-") {
		t.Errorf("a changed plain tree, archived: rw %+v, notes %q", r.RW, r.Notes)
	}
	off(g)
	clean := "e2fsck -fp $F >/dev/null || [ $? = 1 ]"
	command(t, host, clean)
}
