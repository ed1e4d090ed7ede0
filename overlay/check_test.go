package overlay

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sidusboot/sidusboot/tree"
)

// A layer that hides the tree's init program does not make a shell of the node.
func TestHidden(t *testing.T) {
	ro, union := t.TempDir(), t.TempDir()
	add := func(root string, names ...string) {
		for _, name := range names {
			mustMkdir(t, filepath.Dir(root+name))
			if err := os.WriteFile(root+name, nil, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(ro, "/bin/sh")
	add(union, "/sbin/init", "/bin/sh")
	if err := checkHidden(tree.At(ro), tree.At(union), "/sbin/init", ""); err != nil {
		t.Errorf("an init program of the node's own: %v", err)
	}
	add(ro, "/sbin/init")
	if err := checkHidden(tree.At(ro), tree.At(union), "/sbin/init", ""); err != nil {
		t.Errorf("the tree's: %v", err)
	}
	if err := os.Remove(union + "/sbin/init"); err != nil {
		t.Fatal(err)
	}
	if err := checkHidden(tree.At(ro), tree.At(union), "/bin/sh", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none in the union: %v", err)
	}
	if err := checkHidden(tree.At(ro), tree.At(union), "/bin/sh", "/bin/sh"); err != nil {
		t.Errorf("a shell that was asked for: %v", err)
	}
}

// What a kept layer has in place of a text is the node's own, and a program of
// another owner has been accepted with the tree.
func TestCheckTree(t *testing.T) {
	lower, union := t.TempDir(), t.TempDir()
	mustMkdir(t, union+"/sbin", union+"/etc")
	for name, text := range map[string]string{"/etc/os-release": "\x00\x00", "/sbin/init": "#! /sbin/x\n", "/sbin/x": "x"} {
		if err := os.WriteFile(union+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Lchown(union+"/sbin/init", 1, 1); err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	if err := CheckTree(tree.At(lower), tree.At(union), ""); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(union+"/sbin/init", 0); err != nil {
		t.Fatal(err)
	}
	if err := CheckTree(tree.At(lower), tree.At(union), ""); err == nil {
		t.Error("an empty program: no error")
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
