package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// foreign is a tree in a directory beside another one, outside, that nothing may
// get at. Names are of both below one directory.
func foreign(t *testing.T) (Tree, string) {
	t.Helper()
	top := t.TempDir()
	for _, dir := range []string{"tree/etc", "tree/real/etc", "outside"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, top+"/outside/secret", "secret")
	return At(top + "/tree"), top
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// content is what a file on the host holds, "" if there is none.
func content(name string) string {
	b, _ := os.ReadFile(name)
	return string(b)
}

// A file that is to be private is so, also where the tree has another one, with the
// same content, or a link in its place.
func TestReplaceMode(t *testing.T) {
	tree, top := foreign(t)
	root := top + "/tree"
	link(t, "../real/elsewhere", root+"/etc/link")
	for name, text := range map[string]string{"/etc/open": "other", "/etc/same": "key"} {
		if err := os.WriteFile(root+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/etc/open", "/etc/same", "/etc/link", "/etc/absent"} {
		t.Run(name, func(t *testing.T) {
			if err := tree.ReplaceMode(name, []byte("key"), 0o600); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Lstat(root + name); err != nil || info.Mode() != 0o600 || content(root+name) != "key" {
				t.Errorf("%v, %v, want a file of mode 0600", info, err)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	tree, top := foreign(t)
	root := top + "/tree"
	link(t, "/real", root+"/linked")
	link(t, "../real/elsewhere", root+"/etc/link")
	for name, text := range map[string]string{
		"/etc/new": "a", "/etc/link": "b", "/linked/etc/file": "c", "/none/deep/file": "d", "/linked/etc/new/file": "e", "top": "f",
	} {
		if err := tree.Replace(name, []byte(text)); err != nil {
			t.Error(err)
		}
		got, err := tree.ReadFile(name)
		if string(got) != text || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, text)
		}
	}
	if content(root+"/real/etc/file") != "c" || content(root+"/real/etc/new/file") != "e" {
		t.Error("an absolute link was not followed inside the tree")
	}
	if info, err := os.Lstat(root + "/etc/link"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link in the file's place: %v, %v", info, err)
	}
	if err := os.WriteFile(root+"/etc/private", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tree.Replace("/etc/private", []byte("new")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(root + "/etc/private"); err != nil || info.Mode().Perm() != 0o600 || content(root+"/etc/private") != "new" {
		t.Errorf("%v, %v, want mode 0600", info, err)
	}
	before, _ := os.Stat(root + "/etc/private")
	if err := tree.Replace("/etc/private", []byte("new")); err != nil {
		t.Error(err)
	}
	if after, _ := os.Stat(root + "/etc/private"); !os.SameFile(before, after) {
		t.Error("a file with the content that it is to have was written anew")
	}
	if err := os.Mkdir(root+"/etc/directory", 0o755); err != nil {
		t.Fatal(err)
	}
	var kind *KindError
	if err := tree.Replace("/etc/directory", nil); !errors.As(err, &kind) || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory in the file's place: %v", err)
	}
	if err := tree.Replace("/etc/new/file", nil); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file for a directory: %v", err)
	}
	link(t, "/nowhere", root+"/dangling")
	if err := tree.Replace("/dangling/file", nil); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a link to nothing for a directory: %v", err)
	}
	noLeavings(t, root)
}

// noLeavings checks that no half-written file is in the tree.
func noLeavings(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if strings.Contains(d.Name(), suffix) {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Whatever was left in the tree, nothing outside it is read or written.
func TestOutside(t *testing.T) {
	for _, up := range []string{"../outside", "../../../../../../../outside", "ABSOLUTE", "/../outside", "/proc/self/root/ABSOLUTE", "/proc/self/cwd"} {
		t.Run(up, func(t *testing.T) {
			for name, place := range map[string]string{
				"/etc/hosts":     "etc/hosts.sidusboot",
				"/opt/hosts":     "opt",
				"/opt/sub/hosts": "opt",
				"/real/secret":   "real/secret",
			} {
				tree, top := foreign(t)
				target := strings.ReplaceAll(up, "ABSOLUTE", top+"/outside")
				if place != "opt" {
					target += "/secret"
				}
				link(t, target, filepath.Join(top, "tree", place))
				err := tree.Replace(name, []byte("x"))
				if content(top+"/outside/secret") != "secret" {
					t.Fatalf("%s -> %s, Replace(%s): written outside, %v", place, target, name, err)
				}
				entries, _ := os.ReadDir(top + "/outside")
				if len(entries) != 1 {
					t.Errorf("%s -> %s, Replace(%s): made outside: %v, %v", place, target, name, entries, err)
				}
				if place == "opt" {
					for _, file := range []string{"/opt/secret", "/opt"} {
						if got, err := tree.ReadFile(file); err == nil {
							t.Errorf("%s -> %s: read %q outside", file, target, got)
						}
					}
					_ = tree.Remove("/opt/secret")
					_ = tree.MkdirAll("/opt/made")
				} else if err != nil {
					t.Errorf("%s -> %s, Replace(%s): %v", place, target, name, err)
				}
				if entries, _ := os.ReadDir(top + "/outside"); len(entries) != 1 {
					t.Errorf("%s -> %s: changed outside: %v", place, target, entries)
				}
			}
		})
	}
}

// What is no regular file is neither opened nor waited for.
func TestKinds(t *testing.T) {
	tree, top := foreign(t)
	root := top + "/tree"
	if err := unix.Mkfifo(root+"/etc/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	link(t, "/etc/fifo", root+"/etc/to-fifo")
	link(t, "loop", root+"/etc/loop")
	write(t, root+"/etc/large", "")
	if err := os.Truncate(root+"/etc/large", 1<<40); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for name, want := range map[string]string{
			"/etc/fifo": "is a FIFO", "/etc/to-fifo": "is a FIFO", "/etc": "is a directory", "/etc/loop": "too many levels", "/etc/large": "has 1099511627776 bytes",
		} {
			if _, err := tree.ReadFile(name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
				t.Errorf("ReadFile(%s): %v, want %q", name, err, want)
			}
		}
		if err := tree.Executable("/etc/fifo"); !errors.Is(err, unix.ENOEXEC) {
			t.Errorf("Executable of a FIFO: %v", err)
		}
		if err := tree.Replace("/etc/fifo", []byte("x")); err != nil || content(root+"/etc/fifo") != "x" {
			t.Errorf("Replace of a FIFO: %v", err)
		}
		// A directory or a FIFO where the new file is written first.
		if err := os.Mkdir(root+"/etc/name.sidusboot", 0o755); err != nil {
			t.Error(err)
		}
		if err := unix.Mkfifo(root+"/etc/name.sidusboot1", 0o644); err != nil {
			t.Error(err)
		}
		if err := tree.Replace("/etc/name", []byte("x")); err != nil || content(root+"/etc/name") != "x" {
			t.Errorf("Replace beside a directory: %v", err)
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("waits for a FIFO")
	}
}

func TestResolve(t *testing.T) {
	tree, top := foreign(t)
	root := top + "/tree"
	write(t, root+"/real/etc/file", "x")
	link(t, "/real", root+"/linked")
	link(t, "../../../linked/etc/file", root+"/etc/link")
	for name, want := range map[string]string{"/": "/", "/etc": "/etc", "etc/": "/etc", "/linked/etc": "/real/etc", "/etc/link": "/real/etc/file", "/../../linked/../etc": "/etc"} {
		t.Run(name, func(t *testing.T) {
			if got, err := tree.Resolve(name); got != want || err != nil {
				t.Errorf("Resolve(%s) = %q, %v, want %q", name, got, err, want)
			}
		})
	}
	if _, err := tree.Resolve("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Resolve(/none): %v", err)
	}
	if got, err := tree.Readlink("/etc/link"); got != "../../../linked/etc/file" || err != nil {
		t.Errorf("Readlink = %q, %v", got, err)
	}
	if !tree.IsDir("/linked") || tree.IsDir("/etc/link") || tree.IsDir("/none") {
		t.Error("IsDir")
	}
	if err := tree.Remove("/etc/link"); err != nil || content(root+"/real/etc/file") != "x" {
		t.Errorf("Remove of a link: %v", err)
	}
	if err := errors.Join(tree.Remove("/etc/link"), tree.Remove("/none/file")); err != nil {
		t.Errorf("Remove of nothing: %v", err)
	}
	if got, err := At("/").Resolve("/proc/"); got != "/proc" || err != nil {
		t.Errorf("Resolve(/proc) of / = %q, %v", got, err)
	}
	if _, err := At(top + "/none").ReadFile("/etc/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tree that is not there: %v", err)
	}
}

// chattr +i is what root cannot write to: the message says so.
func TestImmutable(t *testing.T) {
	tree, top := foreign(t)
	file := top + "/tree/etc/hosts"
	write(t, file, "old")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const immutable = 0x10 // FS_IMMUTABLE_FL, linux/fs.h
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, immutable); err != nil {
		t.Skipf("make a file immutable: %v", err)
	}
	defer func() {
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0); err != nil {
			t.Error(err)
		}
	}()
	err = tree.Replace("/etc/hosts", []byte("new"))
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "/etc/hosts") || !strings.Contains(err.Error(), "chattr") {
		t.Errorf("Replace of an immutable file: %v", err)
	}
	if content(file) != "old" {
		t.Errorf("it was written to: %q", content(file))
	}
	noLeavings(t, top+"/tree")
}

// FuzzBeneath makes any link in a tree and goes through it by any name: nothing
// outside changes.
func FuzzBeneath(f *testing.F) {
	f.Add("../../outside", "/l/secret")
	f.Add("/", "l/../../outside/secret")
	f.Add("l", "/l")
	f.Fuzz(func(t *testing.T, target, name string) {
		if target == "" || strings.Contains(target+name, "\x00") {
			return
		}
		tree, top := foreign(t)
		if err := os.Symlink(target, top+"/tree/l"); err != nil {
			return
		}
		_ = tree.Replace(name, []byte("x"))
		_, _ = tree.ReadFile(name)
		_ = tree.MkdirAll(name + "/a")
		_ = tree.Remove(name)
		entries, err := os.ReadDir(top + "/outside")
		if err != nil || len(entries) != 1 || content(top+"/outside/secret") != "secret" {
			t.Errorf("%q by link to %q: outside %v, %v", name, target, entries, err)
		}
	})
}
