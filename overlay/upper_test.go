package overlay

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lay writes files by name and text; a name that ends in a slash is a directory,
// a text that begins with -> a link.
func lay(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		dir := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			dir = path
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if dir == path {
			continue
		}
		var err error
		if target, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestShadowed(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	lay(t, lower, map[string]string{"etc/passwd": "root\n", "etc/group": "root\n", "etc/shadow": "x\n", "var/lib/dpkg/status": "x", "etc/gone": "x", "etc/aufs": "x"})
	lay(t, upper, map[string]string{"etc/passwd": "root\nme\n", "etc/group": "root\n", "var/lib/dpkg": "->/nowhere", "etc/new": "x", "etc/.wh.aufs": ""})
	// A copy that only has another owner, say.
	then := time.Unix(1, 0)
	for _, root := range []string{lower, upper} {
		if err := os.Chtimes(filepath.Join(root, "etc/group"), then, then); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"/etc/passwd", "/etc/aufs (removed)"}
	if os.Geteuid() == 0 {
		if err := unix.Mknod(filepath.Join(upper, "etc/gone"), unix.S_IFCHR, 0); err != nil {
			t.Fatal(err)
		}
		want = slices.Insert(want, 1, "/etc/gone (removed)")
	}
	got := ShadowedFiles(lower, upper, "/etc/passwd", "/etc/group", "/etc/shadow", "/var/lib/dpkg/status", "/etc/new", "/etc/gone", "/etc/aufs")
	if !slices.Equal(got, want) {
		t.Errorf("Shadowed = %q, want %q", got, want)
	}
}

func TestRedirected(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("trusted attributes are root's")
	}
	upper := t.TempDir()
	lay(t, upper, map[string]string{"usr/lib/old/x": "", "srv/": "", "link": "->/usr"})
	if name := RedirectedDir(t.Context(), upper); name != "" {
		t.Errorf("Redirected = %q, want none", name)
	}
	if err := unix.Lsetxattr(filepath.Join(upper, "usr/lib/old"), redirectAttr, []byte("/usr/lib/was"), 0); err != nil {
		t.Skip(err)
	}
	if name := RedirectedDir(t.Context(), upper); name != "/usr/lib/old" {
		t.Errorf("Redirected = %q", name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if name := RedirectedDir(ctx, upper); name != "" {
		t.Errorf("at the end of its time Redirected = %q", name)
	}
}

func TestFiles(t *testing.T) {
	upper := t.TempDir()
	if names := UpperFiles(t.Context(), upper, "/usr", 2); names != nil {
		t.Errorf("Files without the directory = %q", names)
	}
	lay(t, upper, map[string]string{"usr/bin/.wh.x": "", "usr/local/bin/a": "", "usr/local/bin/b": "->a", "etc/passwd": "", "usr/lib/": ""})
	want := []string{"/usr/local/bin/a", "/usr/local/bin/b"}
	if names := UpperFiles(t.Context(), upper, "/usr", 3); !slices.Equal(names, want) {
		t.Errorf("Files = %q, want %q", names, want)
	}
	if names := UpperFiles(t.Context(), upper, "/usr", 1); !slices.Equal(names, want[:1]) {
		t.Errorf("Files of at most one = %q", names)
	}
}

func TestCheckMerged(t *testing.T) {
	merged := map[string]string{"bin": "->usr/bin", "sbin": "->/usr/sbin", "lib": "->usr/lib", "usr/": ""}
	with := func(name, text string) map[string]string {
		m := map[string]string{name: text}
		for k, v := range merged {
			if k != name && k+"/" != name {
				m[k] = v
			}
		}
		return m
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		says  string
	}{
		{"merged", merged, ""},
		{"with lib64", with("lib64", "->usr/lib64"), ""},
		{"/lib is a directory", with("lib/", ""), "/lib: is not a link into /usr"},
		{"/lib leads elsewhere", with("lib", "->opt/lib"), "/lib: is not a link into /usr"},
		{"/usr is a link", map[string]string{"bin": "->usr/bin", "usr": "->srv"}, "/usr: not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			lay(t, root, tt.files)
			err := CheckMerged(root)
			if (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("CheckMerged = %v, want %q", err, tt.says)
			}
		})
	}
}
