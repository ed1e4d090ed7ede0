//go:build qemu

package qemutests

import (
	_ "embed"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/initrd"
)

//go:embed mkdracut
var mkdracut string

// TestInspectDracut reads an image that the dracut of each Debian made, as cpio(1) does,
// compares it with one of initramfs-tools, and asks whether nodes would boot with it. No
// guest is started.
func TestInspectDracut(t *testing.T) {
	Soak(t)
	t.Parallel()
	Require(t)
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			tree, err := Variant{Suite: suite, Packages: []string{"dracut-core", "dracut-network"}}.Tree(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := runScript(t.Context(), nil, mkdracut, tree, dir); err != nil {
				t.Fatal(err)
			}
			inspectDracut(t, tree, filepath.Join(dir, "initrd.img"))
		})
	}
}

func inspectDracut(t *testing.T, tree, image string) {
	// Extract makes no devices.
	files, _ := extractsAsCpio(t, image, 300, "--exclude=dev")
	l, err := initrd.List(openFile(t, image))
	if err != nil || len(l.Archives) != 1 || len(l.Files) < files {
		t.Errorf("list: %d archives, %d files, %v, want one with %d files or more", len(l.Archives), len(l.Files), err, files)
	}

	bootsVirtio(t, image, tree, initrd.Dracut)

	peer, err := PeerInitrd(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	d, err := initrd.Diff(openFile(t, peer), openFile(t, image))
	if err != nil {
		t.Fatal(err)
	}
	library := slices.ContainsFunc(d.OnlySecond, func(name string) bool { return strings.HasSuffix(name, "/dracut-lib.sh") })
	if !library || d.Same == 0 || len(d.ModulesOnlySecond) == 0 {
		t.Errorf("compared with initramfs-tools: dracut-lib.sh is only in dracut's %v, %d files are the same, modules only in dracut's %q",
			library, d.Same, d.ModulesOnlySecond)
	}
}
