package versions

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// TestNoDefaultACL has a default ACL on the directory of the versions: what is
// published does not get it.
func TestNoDefaultACL(t *testing.T) {
	f := newBase(t)
	// u::rwx u:65534:rwx g::r-x m::rwx o::r-x (acl(5); linux/posix_acl_xattr.h).
	acl := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\xfe\xff\x00\x00" +
		"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff"
	err := unix.Setxattr(filepath.Join(f.path, layout.Dir), "system.posix_acl_default", []byte(acl), 0)
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this file system has no ACLs")
	}
	if err != nil {
		t.Fatal(err)
	}
	f.publish("a")
	for _, name := range []string{".", "etc", "etc/same", "usr/bin/sparse"} {
		all, err := xattrs(filepath.Join(f.path, layout.Dir, "a", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if strings.HasPrefix(a.name, "system.posix_acl") {
				t.Errorf("%s has %s", name, a.name)
			}
		}
	}
	if note := f.publish("b"); note.Stats.Linked == 0 {
		t.Errorf("nothing was linked: %+v", note.Stats)
	}
}

// TestHoles has a hole of terabytes in staging, as lastlog can be, with data at its
// beginning, in it and at its end: to copy and to compare it is to read the data only.
// To read 8 TiB would not end in a test's time.
func TestHoles(t *testing.T) {
	f := newBase(t)
	const size = 8 << 40
	name := filepath.Join(f.path, layout.Staging, "etc/lastlog")
	write := func(texts map[int64]string) {
		t.Helper()
		file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := file.Truncate(size); errors.Is(err, unix.EFBIG) {
			t.Skip("this file system has no files of 8 TiB")
		} else if err != nil {
			t.Fatal(err)
		}
		for offset, text := range texts {
			if _, err := file.WriteAt([]byte(text), offset); err != nil {
				t.Fatal(err)
			}
		}
	}
	texts := map[int64]string{0: "first", 5<<40 + 12345: "middle", size - 4: "last"}
	check := func(id string) {
		t.Helper()
		copied, err := os.Open(filepath.Join(f.path, layout.Dir, id, "etc/lastlog"))
		if err != nil {
			t.Fatal(err)
		}
		defer copied.Close()
		if info, err := copied.Stat(); err != nil || info.Size() != size {
			t.Errorf("version %s: %v, %v", id, info, err)
		}
		for offset, want := range texts {
			got := make([]byte, len(want))
			if _, err := copied.ReadAt(got, offset); err != nil || string(got) != want {
				t.Errorf("version %s has %q at %d, %v, want %q", id, got, offset, err, want)
			}
		}
	}
	write(texts)
	f.publish("a")
	check("a")
	if note := f.publish("b"); note.Stats.Copied != 0 {
		t.Errorf("it did not change, and was copied: %+v", note.Stats)
	}
	// Another byte, and the time of before.
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	texts[5<<40+12345] = "Middle"
	write(texts)
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	f.publish("c")
	check("c")
	d, err := f.Diff(t.Context(), "b", "c")
	if err != nil || len(d.Etc) != 1 || d.Etc[0].Name != "etc/lastlog" {
		t.Errorf("diff: %+v, %v", d, err)
	}
}

// TestNoRenameFlags is a file system that cannot rename without replacing, as
// NFS is, and ZFS before 2.2.
func TestNoRenameFlags(t *testing.T) {
	f := newBase(t)
	refuse := func(id string) error {
		refused := false
		f.disk.before = func(call, name string) error {
			if call == "rename" && name == id && !refused {
				refused = true
				return unix.EINVAL
			}
			return nil
		}
		defer func() { f.disk.before = nil }()
		return f.disk.renameNew(f.all, newPrefix+id, id)
	}
	f.sh("mkdir versions/.new-a versions/.new-b versions/b")
	if err := refuse("a"); err != nil {
		t.Error(err)
	}
	if err := refuse("b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want that it exists", err)
	}
	if got := f.sh("ls -A versions"); got != ".new-b\na\nb\n" {
		t.Errorf("got %q", got)
	}
}

// TestLinkRefused is a version whose files were made immutable.
func TestLinkRefused(t *testing.T) {
	f := newBase(t)
	f.publish("a")
	f.disk.before = func(call, name string) error {
		if call == "link" && name == "same" {
			return unix.EPERM
		}
		return nil
	}
	f.publish("b")
	if got := f.sh("cat versions/b/etc/same versions/b/usr/bin/second"); got != "same\nsame\n" {
		t.Errorf("got %q", got)
	}
}

// TestBaseInsideTree makes a base inside the tree that is to be copied into it.
func TestBaseInsideTree(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var bad *LayoutError
	if err := Init(ctx, filepath.Join(dir, "srv/base"), dir, nil); !errors.As(err, &bad) {
		t.Errorf("got %.200v, want a LayoutError", err)
	}
}

// TestStagingOfLinks has a staging that was made of a version by cp -al: the
// next version shares no file with it.
func TestStagingOfLinks(t *testing.T) {
	f := newBase(t)
	f.publish("a")
	f.sh("rm -r staging; cp -al versions/a staging")
	f.publish("b")
	f.sh("echo more >>staging/etc/file")
	if got := f.sh("cat versions/b/etc/file"); got != "one\n" {
		t.Errorf("the version changed with staging: %q", got)
	}
}

// TestRemoveRefused is a version with an immutable file that gc may not remove:
// the message has its path.
func TestRemoveRefused(t *testing.T) {
	f := newBase(t)
	f.publish("a")
	f.publish("b")
	f.disk.before = func(call, name string) error {
		if call == "unlink" && filepath.Base(name) == "same" {
			return unix.EPERM
		}
		return nil
	}
	if _, err := f.GC(GCOptions{Keep: 1}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), ".gone-a/etc/same") {
		t.Errorf("gc: %v", err)
	}
	_, err := f.Publish(t.Context(), PublishOptions{ID: "c", Now: time.Now()})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), f.path) || !strings.Contains(err.Error(), ".gone-a/etc/same") {
		t.Errorf("publish: %v", err)
	}
	f.disk.before = nil
	f.publish("c")
	if got := f.sh("ls -A versions"); got != "b\nc\n" {
		t.Errorf("left: %q", got)
	}
}

// TestCurrentIsDirectory refuses a base whose current no link can replace, before
// anything is copied.
func TestCurrentIsDirectory(t *testing.T) {
	f := newBase(t)
	f.publish("a")
	f.sh("rm current; mkdir current")
	var bad *LayoutError
	if _, err := f.Publish(t.Context(), PublishOptions{ID: "b", Now: time.Now()}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("publish: %v", err)
	}
	if _, _, err := f.Rollback("a"); !errors.As(err, &bad) {
		t.Errorf("rollback: %v", err)
	}
	if got := f.sh("ls -A versions"); got != "a\n" {
		t.Errorf("left: %q", got)
	}
	f.sh("rmdir current")
	if _, _, err := f.Rollback("a"); err != nil {
		t.Error(err)
	}
}

// TestNotRoot wants that a user learns that it takes root.
func TestNotRoot(t *testing.T) {
	err := notDirectory("/srv/base/.sidustree", &fs.PathError{Op: "open", Path: ".sidustree", Err: unix.EACCES}, "put one there")
	if !errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "put one there") || !strings.Contains(err.Error(), "as root") {
		t.Errorf("got %v", err)
	}
	var bad *LayoutError
	if err := notDirectory("/x", &fs.PathError{Err: unix.ENOTDIR}, "put one there"); !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
}
