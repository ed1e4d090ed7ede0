//go:build qemu

package qemutests

import "testing"

// TestExampleSite follows docs/site.md, as make site does.
func TestExampleSite(t *testing.T) {
	t.Parallel()
	Soak(t)
	lab := NewLab(t, LabOptions{})
	if err := RunSite(t.Context(), lab, "bookworm", t.Logf); err != nil {
		t.Fatal(err)
	}
}
