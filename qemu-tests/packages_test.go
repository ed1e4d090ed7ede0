//go:build qemu

package qemutests

import (
	_ "embed"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed trypackages
var trypackages string

// TestPackages makes the Debian packages twice, with the same bytes, asks lintian for
// errors, and in a view of each suite's tree installs them, updates its kernel, lets that
// fail, and removes them. A node boots the image that the tree's hook has made.
func TestPackages(t *testing.T) {
	Soak(t)
	t.Parallel()
	Require(t)
	debs := makePackages(t)
	t.Run("same bytes", func(t *testing.T) {
		again := makePackages(t)
		for _, name := range packageNames(t, debs) {
			if a, b := sum(t, filepath.Join(debs, name)), sum(t, filepath.Join(again, name)); a != b {
				t.Errorf("%s: %s, and then %s", name, a, b)
			}
		}
	})
	t.Run("lintian", func(t *testing.T) {
		if _, err := exec.LookPath("lintian"); err != nil {
			t.Skip(err)
		}
		for _, name := range packageNames(t, debs) {
			out, err := exec.CommandContext(t.Context(), "lintian", "--fail-on", "error", filepath.Join(debs, name)).CombinedOutput()
			t.Logf("%s: %s", name, out)
			if err != nil {
				t.Errorf("lintian %s: %v", name, err)
			}
		}
	})
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			tryPackages(t, suite, debs)
		})
	}
}

// makePackages makes the packages of the programs in bin/.
func makePackages(t *testing.T) string {
	t.Helper()
	bin, err := binDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./packaging", "--programs", bin, "--tools", bin, "--output", dir,
		"--version", "v1.0-rc1", "--commit-time", "1795711479")
	cmd.Dir = filepath.Dir(bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("packaging: %v: %s", err, out)
	}
	return dir
}

func packageNames(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(names) != 3 {
		t.Fatalf("packages %q, %v, want three", names, err)
	}
	for i, name := range names {
		names[i] = filepath.Base(name)
	}
	return names
}

// tryPackages runs the script of that name on a suite's tree, and boots what it has made.
func tryPackages(t *testing.T, suite, debs string) {
	bin, err := binDir()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Tree(t.Context(), suite)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, err := scriptOutput(t.Context(), nil, trypackages, tree, debs, dir, filepath.Join(bin, "initrdgen"))
	t.Log(out)
	if err != nil || !strings.Contains(out, "ok: purged") {
		t.Fatalf("trypackages: %v", err)
	}
	s := newSite(t, suite)
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	g := s.boot(s.root("vers=3 ")+probeParams, GuestOptions{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd.img")})
	if r := s.report(g); r.Network.Driver != "virtio_net" {
		t.Errorf("driver %s, want virtio_net", r.Network.Driver)
	}
}
