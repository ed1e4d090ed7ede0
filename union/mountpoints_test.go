package union

import (
	"os"
	"strings"
	"testing"
)

// What is in the place of a mount point is renamed, once.
func TestMakeMountPoints(t *testing.T) {
	union := t.TempDir()
	var notes []string
	b := &Builder{Dir: union, MountPoints: []string{"/ro", "/proc", "/run"}, Note: func(text string) { notes = append(notes, text) }}
	mustMkdir(t, union+"/proc")
	mustLink(t, "/", union+"/ro")
	if err := os.WriteFile(union+"/run", []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.makeMountPoints(); err != nil {
			t.Fatal(err)
		}
		for _, name := range b.MountPoints {
			if info, err := os.Lstat(union + name); err != nil || !info.IsDir() {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		if text, err := os.ReadFile(union + "/run.moved-by-sidusboot"); string(text) != "theirs" {
			t.Errorf("what was there: %q, %v", text, err)
		}
	}
	if len(notes) != 2 || !strings.Contains(notes[0], "/ro is not a directory") {
		t.Errorf("notes %q", notes)
	}
	// There is no other place for it: nothing is overwritten.
	if err := os.Remove(union + "/ro"); err != nil {
		t.Fatal(err)
	}
	mustLink(t, "/", union+"/ro")
	if err := b.makeMountPoints(); err == nil {
		t.Error("renamed twice: no error")
	}
}

func mustMkdir(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func mustLink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
