package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestThreads wants no test that gives a thread a network of its own: a subtest or a
// goroutine runs on another thread, and changes the machine's. networktest.Isolated is
// for that, which has a process of its own.
func TestThreads(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "threads_test.go" {
			return err
		}
		seen++
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), "Unshare(unix.CLONE_NEWNET") {
			t.Errorf("%s gives a thread a network: take networktest.Isolated", path)
		}
		return err
	})
	if err != nil || seen < 100 {
		t.Errorf("%d test files, %v", seen, err)
	}
}
