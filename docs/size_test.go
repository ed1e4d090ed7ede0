package docs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxInit is how many lines init/ has at most without its tests: a concern that is
// more than a step of the boot is a package of its own.
const maxInit = 2500

// TestInitSize counts the lines of init/, which is read as one story.
func TestInitSize(t *testing.T) {
	if lines := countLines(t, filepath.Join(root, "init")); lines > maxInit {
		t.Errorf("init/ has %d lines without tests, at most %d: move a whole concern into the package where it belongs, or into one of its own", lines, maxInit)
	}
}

func TestCountLines(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.go": "package main\n\nvar x = 1\n", "b.go": "package main\n", "a_test.go": "package main\n", "notes": "x\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := countLines(t, dir); got != 4 {
		t.Errorf("countLines = %d, want 4", got)
	}
}

// countLines counts the lines of Go files in dir, without tests.
func countLines(t *testing.T, dir string) (lines int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go file in %s: %v", dir, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(b, []byte("\n"))
	}
	return lines
}
