package overlay

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpaque(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("trusted attributes are root's")
	}
	lower, upper := t.TempDir(), t.TempDir()
	for _, dir := range []string{lower + "/run", lower + "/dev", upper + "/dev"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(lower+"/sys", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // The upper layer may be there from the boot before.
		err := MakeOpaque(lower, upper, "run", "/dev", "sys", "ro")
		if err != nil {
			t.Fatal(err)
		}
	}
	// A link that was left there is not followed.
	if err := os.Symlink(lower, upper+"/proc"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(lower+"/proc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := MakeOpaque(lower, upper, "proc"); err != nil {
		t.Error(err)
	}
	if _, err := unix.Getxattr(lower, opaqueAttr, nil); err == nil {
		t.Error("an attribute was set through a link")
	}
	for name, want := range map[string]string{"run": "y", "dev": "y", "sys": "", "ro": ""} {
		value := make([]byte, 8)
		n, err := unix.Getxattr(filepath.Join(upper, name), opaqueAttr, value)
		if got := string(value[:max(n, 0)]); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}
