//go:build qemu

package qemutests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/initrd"
)

// TestInspectPeer reads an image that the tree's own initramfs-tools made, as cpio(1)
// does, and asks whether nodes would boot with it. No guest is started.
func TestInspectPeer(t *testing.T) {
	t.Parallel()
	Require(t)
	tree, _, image := peerFiles(t.Context(), t, Suites[0])
	_, byCpio := extractsAsCpio(t, image, 100)
	bootsVirtio(t, image, tree, initrd.InitramfsTools)

	// Without one of the modules that its own modules.dep names.
	without := t.TempDir()
	if out, err := exec.Command("cp", "-r", byCpio+"/.", without).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	gone, err := filepath.Glob(filepath.Join(without, "usr/lib/modules/*/kernel/net/core/failover.ko*"))
	if err != nil || len(gone) != 1 {
		t.Fatalf("failover.ko: %q, %v", gone, err)
	}
	if err := os.Remove(gone[0]); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "find . | cpio -o -H newc --quiet | xz --check=crc32 -1")
	cmd.Dir = without
	repacked, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	v, err := initrd.Check(bytes.NewReader(repacked), initrd.CheckOptions{Devices: virtioNIC})
	if err != nil || v.Boots || len(v.Reasons) == 0 || !strings.Contains(v.Reasons[0].Text, "failover") ||
		v.Reasons[0].Remedy != "add a line failover to /etc/initramfs-tools/modules and run update-initramfs -u" {
		t.Errorf("without failover: %+v, %v", v, err)
	}
}

// virtioNIC are the modaliases of a virtio network card: of the PCI device, and of the
// one behind it.
var virtioNIC = []string{"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", "virtio:d00000001v00001AF4"}

// openFile opens a file to read until the test ends.
func openFile(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// extractsAsCpio checks that an image has at least so many files, and that cpio(1)
// extracts the same into byCpio. options are for diff(1).
func extractsAsCpio(t *testing.T, image string, least int, options ...string) (files int, byCpio string) {
	t.Helper()
	ours, byCpio := filepath.Join(t.TempDir(), "ours"), t.TempDir()
	x, err := initrd.Extract(t.Context(), openFile(t, image), ours)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `zstd -dc "$0" | cpio -i -d --quiet`, image)
	cmd.Dir = byCpio
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	diff := append([]string{"-r", "--no-dereference", ours, byCpio}, options...)
	if out, err := exec.Command("diff", diff...).CombinedOutput(); err != nil || x.Files < least {
		t.Errorf("%d files, and cpio(1) extracts others: %.2000s", x.Files, out)
	}
	return x.Files, byCpio
}

// bootsVirtio checks that a node of the tree with a virtio network card boots with the
// image, and one without a network card does not.
func bootsVirtio(t *testing.T, image, tree string, generator initrd.Generator) {
	t.Helper()
	for _, tt := range []struct {
		devices []string
		boots   bool
		reason  string
	}{
		{virtioNIC, true, ""},
		{[]string{"pci:v00001AF4d00001050sv00001AF4sd00001100bc03sc80i00"}, false, "none of the devices is a network card"},
	} {
		v, err := initrd.Check(openFile(t, image), initrd.CheckOptions{Devices: tt.devices, Root: tree})
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(v.Reasons, func(f initrd.Finding) bool { return strings.Contains(f.Text, tt.reason) })
		if v.Generator != generator || v.Boots != tt.boots || !tt.boots && !found {
			t.Errorf("check of %q = %+v, want boots %v", tt.devices, v, tt.boots)
		}
	}
}
