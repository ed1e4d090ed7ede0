package tree

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/versions/layout"
)

func TestFingerprint(t *testing.T) {
	if changing[0] != "/"+layout.Stamp {
		t.Errorf("the stamp is %s, want that of sidustree, %s", changing[0], layout.Stamp)
	}
	dir := t.TempDir()
	tree := At(dir)
	if got := tree.Fingerprint(); got != "" {
		t.Errorf("of an empty tree: %q", got)
	}
	then := time.Unix(1700000000, 5)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]string{}
	for _, step := range []struct {
		name string
		does func()
		new  bool
	}{
		{"dpkg", func() { write("var/lib/dpkg/status", "a") }, true},
		{"the same again", func() { write("var/lib/dpkg/status", "a") }, false},
		{"a file that does not count", func() { write("etc/motd", "a") }, false},
		{"another size", func() { write("var/lib/dpkg/status", "ab") }, true},
		{"another time", func() { then = then.Add(time.Millisecond); write("var/lib/dpkg/status", "ab") }, true},
		{"a stamp", func() { write("etc/sidusboot/stamp", "1") }, true},
	} {
		t.Run(step.name, func(t *testing.T) {
			step.does()
			got := tree.Fingerprint()
			if before, known := seen[got]; known == step.new || got == "" {
				t.Errorf("Fingerprint = %q, seen %q, want a new one: %v", got, before, step.new)
			}
			seen[got] = step.name
		})
	}
}
