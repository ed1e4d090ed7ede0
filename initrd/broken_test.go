package initrd

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// What the image does not want does not stop a build, however broken: it is a
// warning that names the file.
func TestBrokenAndNotWanted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, root, dir string)
		want  string
	}{
		{"an empty file of dkms", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "updates/dkms/v4l2loopback.ko"})
			initrdtest.WriteFile(t, filepath.Join(dir, "updates/dkms/v4l2loopback.ko"), nil)
		}, "updates/dkms/v4l2loopback.ko: an empty file"},
		{"a file of dkms that is gone", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "updates/dkms/v4l2loopback.ko"})
			if err := os.Remove(filepath.Join(dir, "updates/dkms/v4l2loopback.ko")); err != nil {
				t.Fatal(err)
			}
		}, "updates/dkms/v4l2loopback.ko: no such file"},
		{"a FIFO of dkms", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "updates/dkms/v4l2loopback.ko"})
			fifo(t, filepath.Join(dir, "updates/dkms/v4l2loopback.ko"))
		}, "updates/dkms/v4l2loopback.ko: not a regular file"},
		{"a module for signatures that is gone", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/arch/x86/crypto/sha256-ssse3.ko"})
			if err := os.Remove(filepath.Join(dir, "kernel/arch/x86/crypto/sha256-ssse3.ko")); err != nil {
				t.Fatal(err)
			}
		}, "kernel/arch/x86/crypto/sha256-ssse3.ko: no such file"},
		{"a module for signatures that is damaged", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/arch/x86/crypto/sha256-ssse3.ko"})
			initrdtest.WriteFile(t, filepath.Join(dir, "kernel/arch/x86/crypto/sha256-ssse3.ko"), []byte("x"))
		}, "kernel/arch/x86/crypto/sha256-ssse3.ko: not a whole ELF file"},
		{"a module for signatures that needs one that is gone", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/arch/x86/crypto/a.ko"})
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/arch/x86/crypto/sha256-ssse3.ko", Deps: "kernel/arch/x86/crypto/a.ko"})
			if err := os.Remove(filepath.Join(dir, "kernel/arch/x86/crypto/a.ko")); err != nil {
				t.Fatal(err)
			}
		}, "kernel/arch/x86/crypto/a.ko: no such file"},
		{"a module's name with a blank", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "extra/my driver.ko"})
		}, `modules.dep: module "my driver" has a blank`},
		{"a line that is none", func(t *testing.T, root, dir string) {
			appendFile(t, filepath.Join(dir, "modules.dep"), "extra/my\n")
		}, `modules.dep: line 25 is not of the form MODULE: DEPENDENCIES: "extra/my"`},
		{"a dependency that is not listed", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "extra/a.ko", Deps: "extra/gone.ko"})
		}, "modules.dep: a needs gone, which is not listed; a cannot be loaded"},
		{"a loop of dependencies", func(t *testing.T, root, dir string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "extra/a.ko", Deps: "extra/b.ko"})
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "extra/b.ko", Deps: "extra/a.ko"})
		}, "b and a need each other; a, b cannot be loaded"},
		{"a name of modules.builtin with a comma", func(t *testing.T, root, dir string) {
			appendFile(t, filepath.Join(dir, "modules.builtin"), "kernel/a,b.ko\n")
		}, `modules.builtin: module "a,b" has a blank, a comma`},
		{"a directory in modprobe.d", func(t *testing.T, root, dir string) {
			initrdtest.WriteFile(t, filepath.Join(root, "etc/modprobe.d/dir.conf/x"), nil)
		}, "etc/modprobe.d/dir.conf: not a regular file"},
		{"a FIFO in modprobe.d", func(t *testing.T, root, dir string) {
			fifo(t, filepath.Join(root, "etc/modprobe.d/fifo.conf"))
		}, "etc/modprobe.d/fifo.conf: not a regular file"},
		{"a circle of links in modprobe.d", func(t *testing.T, root, dir string) {
			if err := os.Symlink("loop.conf", filepath.Join(root, "etc/modprobe.d/loop.conf")); err != nil {
				t.Fatal(err)
			}
		}, "etc/modprobe.d/loop.conf: too many levels"},
		{"a file in place of modprobe.d", func(t *testing.T, root, dir string) {
			initrdtest.WriteFile(t, filepath.Join(root, "usr/local/lib/modprobe.d"), nil)
		}, "usr/local/lib/modprobe.d: not a directory"},
		{"parameters with an escape", func(t *testing.T, root, dir string) {
			initrdtest.WriteFile(t, filepath.Join(root, "etc/modprobe.d/x.conf"), []byte("options e1000 x=\x1b[2J\n"))
		}, `etc/modprobe.d/x.conf: the options of e1000 are skipped: "x=\x1b[2J" has a control character`},
		{"a loop of softdep post", func(t *testing.T, root, dir string) {
			initrdtest.WriteFile(t, filepath.Join(root, "etc/modprobe.d/x.conf"), []byte("softdep e1000 post: r8169\nsoftdep r8169 post: e1000\n"))
		}, "a loop, so this softdep is ignored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := initrdtest.Tree(t)
			dir := filepath.Join(root, "usr/lib/modules", initrdtest.Release)
			opts := fakeOptions(t, root)
			before, err := Build(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			tt.setup(t, root, dir)
			rep, err := Build(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if len(rep.Warnings) != len(before.Warnings)+1 || !strings.Contains(strings.Join(rep.Warnings, "\n"), tt.want) {
				t.Errorf("warnings = %q, want one more than %q, with %q", rep.Warnings, before.Warnings, tt.want)
			}
			if rep.Kernels[0].Modules != before.Kernels[0].Modules {
				t.Errorf("%d modules, want %d", rep.Kernels[0].Modules, before.Kernels[0].Modules)
			}
		})
	}
}

// What is left of a removed kernel is no second kernel.
func TestRemovedKernel(t *testing.T) {
	for name, setup := range map[string]func(t *testing.T, dir string){
		"an empty modules.dep": func(t *testing.T, dir string) {
			initrdtest.WriteFile(t, filepath.Join(dir, "modules.dep"), nil)
		},
		"modules.dep and modules.builtin": func(t *testing.T, dir string) {
			initrdtest.WriteFile(t, filepath.Join(dir, "modules.dep"), []byte("kernel/fs/nfs/nfs.ko:\nkernel/a.ko:\n"))
			initrdtest.WriteFile(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/fs/nfs/nfs.ko\n"))
			initrdtest.WriteFile(t, filepath.Join(dir, "modules.alias"), nil)
		},
		"what DKMS built for it": func(t *testing.T, dir string) {
			initrdtest.WriteFile(t, filepath.Join(dir, "modules.dep"), []byte("updates/dkms/r8125.ko:\nkernel/a.ko:\n"))
			initrdtest.WriteFile(t, filepath.Join(dir, "updates/dkms/r8125.ko"), initrdtest.ModuleFile("r8125.ko", nil))
		},
		"no modules.dep": func(t *testing.T, dir string) {
			initrdtest.WriteFile(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/fs/nfs/nfs.ko\n"))
		},
	} {
		for _, kernel := range []string{"", "all", initrdtest.Release} {
			t.Run(name+" "+kernel, func(t *testing.T) {
				root := initrdtest.Tree(t)
				setup(t, filepath.Join(root, "usr/lib/modules/5.10.0-old"))
				opts := fakeOptions(t, root)
				opts.Kernel = kernel
				rep, err := Build(t.Context(), opts)
				if err != nil {
					t.Fatal(err)
				}
				if len(rep.Kernels) != 1 || rep.Kernels[0].Release != initrdtest.Release {
					t.Errorf("kernels = %v, want %s", rep.Kernels, initrdtest.Release)
				}
				if name == "no modules.dep" && kernel != initrdtest.Release && !strings.Contains(strings.Join(rep.Warnings, "\n"), "5.10.0-old/modules.dep is missing") {
					t.Errorf("warnings = %q, want one about the file that is missing", rep.Warnings)
				}
				said := strings.Contains(strings.Join(rep.Warnings, "\n"), "kernel 5.10.0-old is left out: none of the modules in "+root+"/lib/modules/5.10.0-old/modules.dep is there")
				if said != (name != "no modules.dep" && kernel != initrdtest.Release) {
					t.Errorf("warnings = %q", rep.Warnings)
				}
			})
		}
	}
	// Alone it is what there is, and so is one that is asked for.
	root := initrdtest.Tree(t)
	opts := fakeOptions(t, root)
	opts.Kernel = "5.10.0-old"
	initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/modules/5.10.0-old/modules.dep"), nil)
	initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/modules/5.10.0-old/modules.alias"), nil)
	if _, err := Build(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "kernel 5.10.0-old in ") || !strings.Contains(err.Error(), "has no nfs") {
		t.Errorf("build = %v, want an error about what it lacks", err)
	}
}

// A kernel with everything built in is one: it is itself there.
func TestMonolithicKernel(t *testing.T) {
	for _, vmlinuz := range []string{"boot/vmlinuz-6.6.0-own", "usr/lib/modules/6.6.0-own/vmlinuz"} {
		root := initrdtest.Tree(t)
		dir := filepath.Join(root, "usr/lib/modules/6.6.0-own")
		initrdtest.WriteFile(t, filepath.Join(dir, "modules.dep"), nil)
		initrdtest.WriteFile(t, filepath.Join(dir, "modules.alias"), nil)
		initrdtest.WriteFile(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/fs/nfs/nfs.ko\nkernel/fs/nfs/nfsv3.ko\nkernel/fs/overlayfs/overlay.ko\n"))
		initrdtest.WriteFile(t, filepath.Join(root, vmlinuz), []byte("kernel"))
		opts := fakeOptions(t, root)
		opts.Kernel = "all"
		rep, err := Build(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if len(rep.Kernels) != 2 {
			t.Errorf("%s: kernels = %v, want two", vmlinuz, rep.Kernels)
		}
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func appendFile(t *testing.T, name, text string) {
	t.Helper()
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	initrdtest.WriteFile(t, name, append(old, text...))
}

func fifo(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(name, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Weak dependencies, which the kernel asks modprobe for at run time, are packed and
// loaded before, from modules.weakdep and from modprobe.d.
func TestWeakdep(t *testing.T) {
	root := initrdtest.Tree(t)
	dir := filepath.Join(root, "usr/lib/modules", initrdtest.Release)
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/phy/phy-one.ko"})
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/phy/phy-two.ko"})
	initrdtest.WriteFile(t, filepath.Join(dir, "modules.weakdep"), []byte("# Weak dependencies extracted from modules themselves.\nweakdep e1000 phy-one absent\n"))
	initrdtest.WriteFile(t, filepath.Join(root, "etc/modprobe.d/weak.conf"), []byte("weakdep e1000 phy_two\n"))
	opts := fakeOptions(t, root)
	_, m := buildManifest(t, opts)
	for _, mod := range m.Modules {
		if mod.Name == "e1000" {
			if got := strings.Join(mod.Before, " "); got != "phy_one phy_two" {
				t.Errorf("before e1000: %s, want phy_one phy_two", got)
			}
			return
		}
	}
	t.Error("e1000 is not in the image")
}
