package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/bootlog"
)

// What is in the place of a mount point is renamed, once.
func TestMakeMountPoints(t *testing.T) {
	union := t.TempDir()
	n := &node{log: &bootlog.Logger{Name: "test"}, report: &bootlog.Report{}}
	mustMkdir(t, union+"/proc")
	mustLink(t, "/", union+"/ro")
	if err := os.WriteFile(union+"/run", []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.makeMountPoints(union); err != nil {
			t.Fatal(err)
		}
		for _, name := range moved {
			if info, err := os.Lstat(union + name); err != nil || !info.IsDir() {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		if text, err := os.ReadFile(union + "/run.moved-by-sidusboot"); string(text) != "theirs" {
			t.Errorf("what was there: %q, %v", text, err)
		}
	}
	if len(n.report.Notes) != 2 || !strings.Contains(n.report.Notes[0], "/ro is no directory") {
		t.Errorf("notes %q", n.report.Notes)
	}
	// There is no other place for it: nothing is overwritten.
	if err := os.Remove(union + "/ro"); err != nil {
		t.Fatal(err)
	}
	mustLink(t, "/", union+"/ro")
	if err := n.makeMountPoints(union); err == nil {
		t.Error("renamed twice: no error")
	}
}
