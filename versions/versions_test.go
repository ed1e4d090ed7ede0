package versions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// A fixture is a base with a staging of every kind of file.
type fixture struct {
	t *testing.T
	*Base
}

func newBase(t *testing.T) fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base")
	if err := Init(t.Context(), path, "", nil); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	f := fixture{t, b}
	f.sh(`mkdir -p staging/usr/bin staging/etc staging/lib/modules/6.1.0-1
ln -s usr/bin staging/bin
echo one >staging/etc/file; echo same >staging/etc/same; chmod 640 staging/etc/same
printf 'a\nb' >"staging/etc/a name
with a line"
ln staging/etc/same staging/usr/bin/second
ln -s /etc/shadow staging/etc/out; ln -s loop staging/etc/loop
mkfifo staging/etc/fifo
touch staging/lib/modules/6.1.0-1/modules.dep
truncate -s 3M staging/usr/bin/sparse; printf end >>staging/usr/bin/sparse
touch -d 2020-01-02T03:04:05.678 staging/etc/same staging/usr/bin
chmod 1777 staging/etc; chmod 4755 staging/usr/bin/sparse`)
	return f
}

// sh runs a script in the base.
func (f fixture) sh(script string) string {
	f.t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = f.path
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

func (f fixture) publish(id string) Note {
	f.t.Helper()
	note, err := f.Publish(f.t.Context(), PublishOptions{ID: id, Now: time.Now()})
	if err != nil {
		f.t.Fatalf("publish %s: %v", id, err)
	}
	return note
}

// describe tells all files below a path, but for what a copy cannot have.
func describe(t *testing.T, path string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(path, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		text := fmt.Sprintf("%o %d:%d %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %q", len(b), b[max(0, len(b)-20):])
		case unix.S_IFLNK:
			target, _ := os.Readlink(p)
			text += " -> " + target
		case unix.S_IFCHR, unix.S_IFBLK:
			text += fmt.Sprint(" ", st.Rdev)
		}
		rel, _ := filepath.Rel(path, p)
		all[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPublish(t *testing.T) {
	f := newBase(t)
	if os.Geteuid() == 0 {
		f.sh("chown 1:2 staging/etc/file; mknod staging/etc/null c 1 3; mknod staging/etc/whiteout c 0 0")
	}
	f.publish("a")
	want := describe(t, filepath.Join(f.path, layout.Staging))
	if diff := cmp.Diff(want, describe(t, filepath.Join(f.path, layout.Dir, "a"))); diff != "" {
		t.Errorf("the version differs from staging (-staging +version):\n%s", diff)
	}
	if f.sh("stat -c %h versions/a/etc/same") != "2\n" {
		t.Error("a file with two names is two files")
	}
	f.sh("echo two >staging/etc/file")
	note := f.publish("b")
	if note.Previous != "a" {
		t.Errorf("previous is %q, want a", note.Previous)
	}
	if got := f.sh("cat current/etc/file versions/a/etc/file; readlink current"); got != "two\none\nversions/b\n" {
		t.Errorf("got %q", got)
	}
	// Staging shares nothing: what is written into it in place does not reach a
	// version.
	f.sh("echo three >>staging/etc/same")
	if got := f.sh("cat versions/a/etc/same versions/b/etc/same"); got != "same\nsame\n" {
		t.Errorf("what was written to staging is in a version: %q", got)
	}
}

// TestPublishLinks looks at what does not change between versions, on a file
// system without clones.
func TestPublishLinks(t *testing.T) {
	f := newBase(t)
	note := f.publish("a")
	if note.Stats.Cloned > 0 {
		t.Skip("this file system clones")
	}
	f.sh("echo ONE >staging/etc/file; touch -r versions/a/etc/file staging/etc/file; chmod 600 staging/lib/modules/6.1.0-1/modules.dep")
	note = f.publish("b")
	same := func(name string) bool {
		return f.sh("stat -c %i versions/a/"+name) == f.sh("stat -c %i versions/b/"+name)
	}
	if !same("etc/same") || !same("usr/bin/sparse") {
		t.Error("a file that did not change is no hard link")
	}
	if same("etc/file") {
		t.Error("a file of the same size and time with another content is the old one")
	}
	if same("lib/modules/6.1.0-1/modules.dep") {
		t.Error("a file with another mode is the old one")
	}
	if note.Stats.Linked == 0 || note.Stats.Copied != 2 {
		t.Errorf("%+v", note.Stats)
	}
	if got := f.sh("cat versions/b/etc/file"); got != "ONE\n" {
		t.Errorf("got %q", got)
	}
}

func TestRollbackAndGC(t *testing.T) {
	t.Run("no current", func(t *testing.T) {
		f := newBase(t)
		if got, err := f.GC(GCOptions{Keep: 1}); err != nil || len(got.Removed) > 0 {
			t.Errorf("no version yet: %+v, %v", got, err)
		}
		f.publish("a")
		f.publish("b")
		f.sh("rm current")
		if got, err := f.GC(GCOptions{Keep: 1}); err == nil || len(got.Removed) > 0 {
			t.Errorf("current was removed: %+v, %v", got, err)
		}
	})
	f := newBase(t)
	if _, _, err := f.Rollback(""); err == nil {
		t.Error("went back from nothing")
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		f.publish(id)
	}
	if from, to, err := f.Rollback(""); from != "d" || to != "c" || err != nil {
		t.Errorf("got %s, %s, %v", from, to, err)
	}
	if _, to, err := f.Rollback("a"); to != "a" || err != nil {
		t.Errorf("got %s, %v", to, err)
	}
	var missing *NotFoundError
	if _, _, err := f.Rollback("x"); !errors.As(err, &missing) || !slices.Equal(missing.Have, []string{"d", "c", "b", "a"}) {
		t.Errorf("got %v", err)
	}
	if _, err := f.GC(GCOptions{Keep: 0}); err == nil {
		t.Error("kept nothing")
	}
	var unknown *UnknownUsageError
	if _, err := f.GC(GCOptions{Keep: 1, Usage: Usage{Unknown: []string{"10.0.0.9"}}}); !errors.As(err, &unknown) {
		t.Errorf("got %v, want an UnknownUsageError", err)
	}
	used := Usage{Clients: map[string][]string{"b": {"10.0.0.1"}}}
	dry, err := f.GC(GCOptions{Keep: 1, Usage: used, DryRun: true})
	if err != nil || !slices.Equal(dry.Removed, []string{"c"}) {
		t.Errorf("got %+v, %v", dry, err)
	}
	got, err := f.GC(GCOptions{Keep: 1, Usage: used})
	if err != nil {
		t.Fatal(err)
	}
	want := GCResult{Removed: []string{"c"}, Kept: map[string]string{
		"a": "current", "b": "in use by 1 nodes, 10.0.0.1 among them", "d": "one of the newest 1",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := f.sh("ls versions; ls .sidustree"); got != "a\nb\nd\na.json\nb.json\nd.json\nlock\n" {
		t.Errorf("left: %q", got)
	}
}

func TestList(t *testing.T) {
	f := newBase(t)
	f.publish("a")
	f.sh("head -c 300000 /dev/zero | tr '\\0' x >staging/etc/large")
	f.publish("b")
	all, err := f.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].ID != "b" || !all[0].Current || all[1].Current || !slices.Equal(all[0].Kernels, []string{"6.1.0-1"}) {
		t.Errorf("%+v", all)
	}
	if all[0].Own < 300000 {
		t.Errorf("own bytes %d", all[0].Own)
	}
}

// TestBadBases are bases in which something is in the wrong place: an error by
// name, and nothing is changed.
func TestBadBases(t *testing.T) {
	for _, test := range []struct{ name, script, says string }{
		{"absolute current", "rm current; ln -s $PWD/versions/a current", "it must be the relative link"},
		{"current leads out", "rm current; ln -s versions/../../x current", "it must be the relative link"},
		{"current is a loop", "rm current; ln -s current current", "it must be the relative link"},
		{"current dangles", "rm current; ln -s versions/gone current", "has no version gone"},
		{"current is a directory", "rm current; mkdir current", "is a directory"},
		{"a version is a link", "rm current; ln -s a versions/l; ln -s versions/l current", "is a link"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newBase(t)
			f.publish("a")
			f.sh(test.script)
			before := f.sh("find . -path ./.sidustree -prune -o -printf '%p %l %i\n' | sort")
			if _, err := f.Current(); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Current() = %v, want %q", err, test.says)
			}
			if _, err := f.GC(GCOptions{Keep: 1}); err == nil {
				t.Error("GC did not need to know what is current")
			}
			// A version that was removed by hand is no reason not to publish.
			if test.name != "current dangles" {
				if _, err := f.Publish(t.Context(), PublishOptions{ID: "b", Now: time.Now()}); err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("Publish() = %v, want %q", err, test.says)
				}
			}
			if after := f.sh("find . -path ./.sidustree -prune -o -printf '%p %l %i\n' | sort"); after != before {
				t.Errorf("changed:\n%s\n%s", before, after)
			}
		})
	}
	t.Run("links and FIFOs in a version and in the notes", func(t *testing.T) {
		f := newBase(t)
		f.sh("rm -r staging/lib; mkdir -p outside/1.2.3; touch outside/1.2.3/modules.dep; ln -s $PWD/outside staging/modules; mkdir staging/lib; ln -s $PWD/outside staging/lib/modules")
		f.publish("a")
		all, err := f.List()
		if err != nil || len(all[0].Kernels) != 0 {
			t.Errorf("%+v, %v: read outside of the version", all, err)
		}
		f.sh("rm .sidustree/a.json; mkfifo .sidustree/a.json")
		if _, err := f.List(); err == nil || !strings.Contains(err.Error(), "a FIFO") {
			t.Errorf("a FIFO for a note: %v", err)
		}
	})
	t.Run("staging is a link", func(t *testing.T) {
		f := newBase(t)
		f.sh("mv staging other; ln -s other staging")
		if _, err := f.Publish(t.Context(), PublishOptions{Now: time.Now()}); err == nil {
			t.Error("published what a link leads to")
		}
	})
	t.Run("no base", func(t *testing.T) {
		var bad *LayoutError
		if _, err := Open(t.TempDir()); !errors.As(err, &bad) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("init into something else", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var bad *LayoutError
		if err := Init(t.Context(), dir, "", nil); !errors.As(err, &bad) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPublishRefused(t *testing.T) {
	f := newBase(t)
	f.publish("a")
	var exists *ExistsError
	if _, err := f.Publish(t.Context(), PublishOptions{ID: "a", Now: time.Now()}); !errors.As(err, &exists) {
		t.Errorf("got %v", err)
	}
	refusal := errors.New("no init")
	if _, err := f.Publish(t.Context(), PublishOptions{ID: "b", Now: time.Now(), Check: func(string) error { return refusal }}); !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Publish(canceled, PublishOptions{ID: "b", Now: time.Now()}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := f.sh("ls -A versions; readlink current; ls .sidustree"); got != "a\nversions/a\na.json\nlock\n" {
		t.Errorf("left: %q", got)
	}
	// Two at once.
	other, err := Open(f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = f.change(func() error {
		_, err := other.Publish(t.Context(), PublishOptions{Now: time.Now()})
		return err
	})
	if busy := (*BusyError)(nil); !errors.As(err, &busy) {
		t.Errorf("got %v, want a BusyError", err)
	}
}

// TestChanged changes staging while it is copied.
func TestChanged(t *testing.T) {
	f := newBase(t)
	done := false
	f.disk.before = func(call, name string) error {
		if !done && call == "symlink" && name == "loop" { // etc is being copied.
			done = true
			f.sh("echo more >staging/etc/new")
		}
		return nil
	}
	var changed *ChangedError
	if _, err := f.Publish(t.Context(), PublishOptions{ID: "a", Now: time.Now()}); !errors.As(err, &changed) {
		t.Errorf("got %v, want a ChangedError", err)
	}
	if got := f.sh("ls -A versions .sidustree"); strings.Contains(got, "a") && strings.Contains(got, "new") {
		t.Errorf("left: %q", got)
	}
}
