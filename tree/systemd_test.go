package tree

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRunsSystemd(t *testing.T) {
	root := t.TempDir()
	for name, target := range map[string]string{"sbin/init": "/lib/systemd/systemd", "lib": "usr/lib", "sbin/openrc-init": ""} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); target != "" && err != nil {
			t.Fatal(err)
		}
		if target == "" {
			if err := os.WriteFile(path, []byte("x"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/lib/systemd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/lib/systemd/systemd"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]bool{"/sbin/init": true, "/usr/lib/systemd/systemd": true, "/sbin/openrc-init": false, "/bin/none": false} {
		t.Run(program, func(t *testing.T) {
			if got := At(root).RunsSystemd(program); got != want {
				t.Errorf("%s: %v", program, got)
			}
		})
	}
}
