package tree

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallTree has a program, a link, a directory and a small text.
func smallTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"/sbin", "/etc", "/usr/lib"} {
		mustMkdir(t, root+dir)
	}
	link(t, "usr/lib", root+"/lib")
	link(t, "../usr/lib/os-release", root+"/etc/os-release")
	for name, text := range map[string]string{"/usr/lib/os-release": "NAME=x\n", "/sbin/init": "#! /sbin/x\n", "/sbin/x": "x"} {
		if err := os.WriteFile(root+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// ignoreOwner forgives that a test is not run by root.
func ignoreOwner(err error) error {
	var owner *OwnerError
	if errors.As(err, &owner) {
		return nil
	}
	return err
}

func TestCheck(t *testing.T) {
	root := smallTree(t)
	if err := ignoreOwner(At(root).Check("")); err != nil {
		t.Errorf("Check: %v", err)
	}
	if err := os.WriteFile(root+"/usr/lib/os-release", make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := At(root).CheckReads(); !errors.Is(err, ErrZeros) || !strings.Contains(err.Error(), "read /etc/os-release: all bytes are zero") {
		t.Errorf("a text of zeros: %v", err)
	}
	// What is in the place of a text is no reason to refuse the tree.
	if err := os.Remove(root + "/etc/os-release"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(root+"/etc/os-release", 0o644); err != nil {
		t.Fatal(err)
	}
	mustMkdir(t, root+"/etc/passwd")
	if err := At(root).CheckReads(); err != nil {
		t.Errorf("a FIFO and a directory in place of texts: %v", err)
	}
	if err := At(t.TempDir()).checkList("/"); err == nil {
		t.Error("an empty root: no error")
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
