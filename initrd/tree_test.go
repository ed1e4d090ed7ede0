package initrd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// Links lead to where they lead a node that has mounted the tree, and never
// out of it.
func TestTreeLinks(t *testing.T) {
	outside := t.TempDir()
	initrdtest.WriteFile(t, filepath.Join(outside, "secret"), []byte("the host's"))
	root := t.TempDir()
	initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/file"), []byte("the tree's"))
	for name, target := range map[string]string{
		"lib":       "/usr/lib",
		"lib2":      "usr/lib",
		"up":        "../../../../usr/lib",
		"usr/back":  "../lib",
		"loop":      "loop",
		"out":       outside,
		"hostfile":  filepath.Join(outside, "secret"),
		"usr/chain": "/lib2/../back/file",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := openTree(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"usr/lib/file", "lib/file", "lib2/file", "up/file", "usr/back/file", "usr/chain", "/lib//file", "lib/../lib/file"} {
		t.Run(name, func(t *testing.T) {
			if got, err := tr.readFile(name); string(got) != "the tree's" {
				t.Errorf("readFile(%s) = %q, %v", name, got, err)
			}
		})
	}
	for name, want := range map[string]error{
		"loop":       syscall.ELOOP,
		"out/secret": fs.ErrNotExist,
		"hostfile":   fs.ErrNotExist,
		"../secret":  fs.ErrNotExist,
		"lib/none":   fs.ErrNotExist,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tr.readFile(name)
			if !errors.Is(err, want) {
				t.Errorf("readFile(%s) = %q, %v, want %v", name, got, err, want)
			} else if !strings.Contains(err.Error(), root) {
				t.Errorf("error %q does not name the file on the host", err)
			}
		})
	}
	if _, err := tr.readFile("usr/lib"); err == nil {
		t.Error("readFile of a directory succeeded")
	}
}
