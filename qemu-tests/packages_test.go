//go:build qemu

package qemutests

import (
	"debug/elf"
	_ "embed"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed trypackages
var trypackages string

//go:embed trydracut
var trydracut string

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
	t.Run("arm64", func(t *testing.T) { checkForeign(t, debs) })
	for _, suite := range Suites {
		t.Run("dracut in "+suite, func(t *testing.T) {
			t.Parallel()
			tree, err := Variant{Suite: suite, Packages: []string{"dracut"}}.Tree(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			out, err := scriptOutput(t.Context(), nil, trydracut, tree, debs, t.TempDir())
			t.Log(out)
			if err != nil || !strings.Contains(out, "ok: sidusboot-initramfs takes the place of dracut") {
				t.Errorf("trydracut: %v", err)
			}
		})
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
	for _, args := range [][]string{{"make", "others"},
		{"go", "run", "./packaging", "--programs", bin, "--output", dir, "--arch", "amd64,arm64", "--version", "v1.0-rc1", "--commit-time", "1795711479",
			"--maintainer", maintainer}} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = filepath.Dir(bin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	return dir
}

// maintainer is in the packages.
const maintainer = "Élodie O'Brien <packages@nfs1.debian.net>"

// checkForeign looks into the package for arm64: which programs are for which machine. One
// of them is run, where qemu-user is there.
func checkForeign(t *testing.T, debs string) {
	names, err := filepath.Glob(filepath.Join(debs, "sidusboot_*_arm64.deb"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v, want one", names, err)
	}
	out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-f", names[0], "Architecture", "Maintainer").Output()
	if want := "Architecture: arm64\nMaintainer: " + maintainer + "\n"; err != nil || string(out) != want {
		t.Errorf("dpkg-deb -f says %q, %v, want %q", out, err, want)
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-x", names[0], dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]elf.Machine{
		"usr/bin/initrdgen": elf.EM_AARCH64, "usr/bin/sidustree": elf.EM_AARCH64,
		"usr/lib/sidusboot/init": elf.EM_AARCH64, "usr/lib/sidusboot/init-amd64": elf.EM_X86_64,
	} {
		f, err := elf.Open(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		f.Close()
		if f.Machine != want {
			t.Errorf("%s is for %v, want %v", name, f.Machine, want)
		}
	}
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Skip(err)
	}
	// Not more than that: the qemu-user of Debian 12 has no openat2.
	text, err := exec.CommandContext(t.Context(), qemu, filepath.Join(dir, "usr/bin/initrdgen"), "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(text), "initrdgen ") {
		t.Errorf("its initrdgen, run by qemu-user: %v: %s", err, text)
	}
}

func packageNames(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(names) != 4 {
		t.Fatalf("packages %q, %v, want four", names, err)
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
