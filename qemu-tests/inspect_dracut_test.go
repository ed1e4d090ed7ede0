//go:build qemu

package qemutests

import (
	_ "embed"
	"os"
	"os/exec"
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
	open := func(name string) *os.File {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	ours, byCpio := filepath.Join(t.TempDir(), "ours"), t.TempDir()
	x, err := initrd.Extract(t.Context(), open(image), ours)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `zstd -dc "$0" | cpio -i -d --quiet`, image)
	cmd.Dir = byCpio
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	// Extract makes no devices.
	if out, err := exec.Command("diff", "-r", "--no-dereference", "--exclude=dev", ours, byCpio).CombinedOutput(); err != nil || x.Files < 300 {
		t.Errorf("%d files, and cpio(1) extracts others: %.2000s", x.Files, out)
	}
	l, err := initrd.List(open(image))
	if err != nil || len(l.Archives) != 1 || len(l.Files) < x.Files {
		t.Errorf("list: %d archives, %d files, %v, want one with %d files or more", len(l.Archives), len(l.Files), err, x.Files)
	}

	const transport, nic = "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", "virtio:d00000001v00001AF4"
	for _, tt := range []struct {
		devices []string
		boots   bool
		reason  string
	}{
		{[]string{transport, nic}, true, ""},
		{[]string{"pci:v00001AF4d00001050sv00001AF4sd00001100bc03sc80i00"}, false, "none of the devices is a network card"},
	} {
		v, err := initrd.Check(open(image), initrd.CheckOptions{Devices: tt.devices, Root: tree})
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(v.Reasons, func(f initrd.Finding) bool { return strings.Contains(f.Text, tt.reason) })
		if v.Generator != initrd.Dracut || v.Boots != tt.boots || !tt.boots && !found {
			t.Errorf("check of %q = %+v, want boots %v", tt.devices, v, tt.boots)
		}
	}

	peer, err := PeerInitrd(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	d, err := initrd.Diff(open(peer), open(image))
	if err != nil {
		t.Fatal(err)
	}
	library := slices.ContainsFunc(d.OnlySecond, func(name string) bool { return strings.HasSuffix(name, "/dracut-lib.sh") })
	if !library || d.Same == 0 || len(d.ModulesOnlySecond) == 0 {
		t.Errorf("compared with initramfs-tools: dracut-lib.sh is only in dracut's %v, %d files are the same, modules only in dracut's %q",
			library, d.Same, d.ModulesOnlySecond)
	}
}
