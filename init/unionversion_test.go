package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/tree"
)

// What the union says decides whether the version of NFS or /rw is the cause.
func TestVersionAtFault(t *testing.T) {
	for _, tt := range []struct {
		rw   string
		err  error
		want bool
	}{
		{"tmpfs", unix.EREMOTEIO, true},
		{"iscsi", unix.EREMOTEIO, true},
		{"iscsi", unix.ESTALE, true},
		{"tmpfs", unix.EIO, true},
		{"tmpfs", unix.ENOSPC, false},
		{"tmpfs", unix.ENOMEM, false},
	} {
		n := &node{report: &bootlog.Report{RW: bootlog.RW{Kind: tt.rw}}}
		if got := n.versionAtFault(overlay.Overlay, fmt.Errorf("list /etc: %w", tt.err)); got != tt.want {
			t.Errorf("%v over %s: versionAtFault = %v, want %v", tt.err, tt.rw, got, tt.want)
		}
	}
}

// A layer that hides the tree's init program does not make a shell of the node.
func TestShadowed(t *testing.T) {
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
	if err := shadowed(ro, union, "/sbin/init", ""); err != nil {
		t.Errorf("an init program of the node's own: %v", err)
	}
	add(ro, "/sbin/init")
	if err := shadowed(ro, union, "/sbin/init", ""); err != nil {
		t.Errorf("the tree's: %v", err)
	}
	if err := os.Remove(union + "/sbin/init"); err != nil {
		t.Fatal(err)
	}
	if err := shadowed(ro, union, "/bin/sh", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none in the union: %v", err)
	}
	if err := shadowed(ro, union, "/bin/sh", "/bin/sh"); err != nil {
		t.Errorf("a shell that was asked for: %v", err)
	}
}

// What a kept layer has in place of a text is the node's own, and a program of
// another owner has been accepted with the tree.
func TestCheckUnion(t *testing.T) {
	union := t.TempDir()
	mustMkdir(t, union+"/sbin", union+"/etc")
	for name, text := range map[string]string{"/etc/os-release": "\x00\x00", "/sbin/init": "#! /sbin/x\n", "/sbin/x": "x"} {
		if err := os.WriteFile(union+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Lchown(union+"/sbin/init", 1, 1); err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	if err := checkUnion(tree.At(union), ""); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(union+"/sbin/init", 0); err != nil {
		t.Fatal(err)
	}
	if err := checkUnion(tree.At(union), ""); err == nil {
		t.Error("an empty program: no error")
	}
}
