package initrd

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// TestArchitecture builds from trees for one machine or another out of a folder with the
// programs that make leaves in bin/: the init that fits is taken, another is refused by name.
func TestArchitecture(t *testing.T) {
	x86, arm := initrdtest.ProgramFor(elf.EM_X86_64), initrdtest.ProgramFor(elf.EM_AARCH64)
	for _, tt := range []struct {
		name    string
		machine elf.Machine
		bin     map[string][]byte
		// init is which program becomes /init, or want what the error says.
		init string
		want []string
	}{
		{name: "arm64 on amd64", machine: elf.EM_AARCH64, bin: map[string][]byte{"init": x86, "init-arm64": arm}, init: "init-arm64"},
		{name: "arm64 on arm64", machine: elf.EM_AARCH64, bin: map[string][]byte{"init": arm, "init-amd64": x86}, init: "init"},
		{name: "amd64 on amd64", machine: elf.EM_X86_64, bin: map[string][]byte{"init": x86, "init-arm64": arm}, init: "init"},
		{name: "amd64 on arm64", machine: elf.EM_X86_64, bin: map[string][]byte{"init": arm, "init-amd64": x86}, init: "init-amd64"},
		{name: "only the other", machine: elf.EM_AARCH64, bin: map[string][]byte{"init": x86},
			want: []string{"/init is for amd64, but the kernel of the tree is for arm64 (", ".ko", "which make leaves in bin/ as init-arm64 or init"}},
		{name: "a wrong name", machine: elf.EM_AARCH64, bin: map[string][]byte{"init-arm64": x86},
			want: []string{"/init-arm64 is for amd64, but the kernel of the tree is for arm64"}},
		{name: "none", machine: elf.EM_AARCH64, want: []string{"has no init-arm64 and no init: give sidusboot's init for arm64"}},
		{name: "a machine without init", machine: elf.EM_RISCV, bin: map[string][]byte{"init": x86},
			want: []string{"/init is for amd64, but the kernel of the tree is for riscv64"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := initrdtest.Tree(t)
			initrdtest.SetMachine(t, root, initrdtest.Release, tt.machine)
			opts := fakeOptions(t, root)
			opts.Init, opts.InitDir = "", t.TempDir()
			for name, program := range tt.bin {
				initrdtest.WriteFile(t, filepath.Join(opts.InitDir, name), program)
			}
			rep, err := Build(t.Context(), opts)
			if tt.want != nil {
				option := (*OptionError)(nil)
				if !errors.As(err, &option) || option.Field != "Init" {
					t.Fatalf("got %v, want an error about Init", err)
				}
				for _, text := range tt.want {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("%v: want %q in it", err, text)
					}
				}
				if _, err := os.Stat(opts.Output); err == nil {
					t.Error("an image was written")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := archNames[arch{tt.machine, elf.ELFCLASS64, elf.ELFDATA2LSB}]; rep.Architecture != want {
				t.Errorf("the report says %q, want %q", rep.Architecture, want)
			}
			got, err := os.ReadFile(filepath.Join(unpack(t, opts.Output), "init"))
			if err != nil || string(got) != string(tt.bin[tt.init]) {
				t.Errorf("/init is not %s (%v)", tt.init, err)
			}
		})
	}
}

// The image is not to take the place of the init that is found for it.
func TestArchitectureOutput(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	opts.Init, opts.InitDir = "", filepath.Dir(opts.Init)
	opts.Output = filepath.Join(opts.InitDir, "init")
	_, err := Build(t.Context(), opts)
	option := (*OptionError)(nil)
	if !errors.As(err, &option) || option.Field != "Output" {
		t.Errorf("got %v, want an error about Output", err)
	}
}

// TestFindArch asks trees what their kernel runs on where no module says it.
func TestFindArch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, root, modules string)
		want  arch
		from  string
	}{
		{name: "a broken module", want: amd64, from: "crc32c_generic.ko", setup: func(t *testing.T, _, modules string) {
			initrdtest.WriteFile(t, filepath.Join(modules, initrdtest.Modules()[0].Path), []byte("broken"))
		}},
		{name: "one of DKMS", want: amd64, from: "crc32c_generic.ko", setup: func(t *testing.T, root, modules string) {
			text := "updates/dkms/foreign.ko:\nkernel/crypto/crc32c_generic.ko:\n"
			initrdtest.WriteFile(t, filepath.Join(modules, "modules.dep"), []byte(text))
			foreign := initrdtest.ModuleFor(elf.EM_AARCH64, initrdtest.Module{Path: "foreign.ko"})
			initrdtest.WriteFile(t, filepath.Join(modules, "updates/dkms/foreign.ko"), foreign)
		}},
		{name: "all built in", want: arm64, from: "boot/vmlinuz-" + initrdtest.Release, setup: func(t *testing.T, root, modules string) {
			initrdtest.WriteFile(t, filepath.Join(modules, "modules.dep"), nil)
			initrdtest.WriteFile(t, filepath.Join(root, "boot/vmlinuz-"+initrdtest.Release), initrdtest.KernelFile(elf.EM_AARCH64, initrdtest.Release))
		}},
		{name: "no kernel's file", want: arm64, from: "bin/sh", setup: func(t *testing.T, root, modules string) {
			initrdtest.WriteFile(t, filepath.Join(modules, "modules.dep"), nil)
			initrdtest.WriteFile(t, filepath.Join(root, "bin/sh"), initrdtest.ProgramFor(elf.EM_AARCH64))
		}},
		{name: "nothing", setup: func(t *testing.T, _, modules string) {
			initrdtest.WriteFile(t, filepath.Join(modules, "modules.dep"), nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := initrdtest.Tree(t)
			tt.setup(t, root, filepath.Join(root, "usr/lib/modules", initrdtest.Release))
			tree, err := openTree(root)
			if err != nil {
				t.Fatal(err)
			}
			k, err := readKernel(tree, initrdtest.Release)
			if err != nil {
				t.Fatal(err)
			}
			if got, from := findArch(tree, k); got != tt.want || !strings.HasSuffix(from, tt.from) {
				t.Errorf("%v by %s, want %v by %s", got, from, tt.want, tt.from)
			}
		})
	}
}

// Kernels for two machines do not fit into one image, and neither does a module for
// another machine than its kernel's.
func TestMixedArchitectures(t *testing.T) {
	root := initrdtest.Tree(t)
	lib := filepath.Join(root, "usr/lib/modules")
	if err := os.CopyFS(filepath.Join(lib, "6.2.0-arm64"), os.DirFS(filepath.Join(lib, initrdtest.Release))); err != nil {
		t.Fatal(err)
	}
	initrdtest.SetMachine(t, root, "6.2.0-arm64", elf.EM_AARCH64)
	opts := fakeOptions(t, root)
	opts.Kernel = "all"
	_, err := Build(t.Context(), opts)
	if err == nil || !strings.HasPrefix(err.Error(), "Kernel: 6.1.0-test is for amd64 (") || !strings.Contains(err.Error(), "but 6.2.0-arm64 is for arm64 (") {
		t.Errorf("two machines: %v", err)
	}

	opts.Kernel = initrdtest.Release
	odd := initrdtest.ModuleFor(elf.EM_AARCH64, initrdtest.Module{Path: "sunrpc.ko"})
	initrdtest.WriteFile(t, filepath.Join(lib, initrdtest.Release, "kernel/net/sunrpc/sunrpc.ko"), odd)
	_, err = Build(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "sunrpc.ko is for arm64") || !strings.Contains(err.Error(), "run depmod") {
		t.Errorf("one module: %v", err)
	}
}

// TestBoard has the drivers that a NIC waits for on boards with a device tree: arm64 has
// them in its image, amd64 not.
func TestBoard(t *testing.T) {
	k := parseKernel(t, strings.Join([]string{
		"kernel/drivers/clk/rockchip/clk-rk3399.ko:", "kernel/drivers/regulator/rk808-regulator.ko: kernel/drivers/mfd/rk808.ko", "kernel/drivers/mfd/rk808.ko:",
		"kernel/drivers/i2c/busses/i2c-rk3x.ko:", "kernel/drivers/i2c/i2c-dev.ko:", "kernel/drivers/pci/controller/pcie-rockchip-host.ko:",
		"kernel/drivers/net/ethernet/stmicro/stmmac/dwmac-rk.ko:", "kernel/drivers/gpu/drm/rockchip/rockchipdrm.ko:",
	}, "\n"), "alias of:N*T*Crockchip,rk808 rk808\nalias of:N*T*Crockchip,rk3399-gmac dwmac_rk\n", "", "")
	for _, tt := range []struct {
		arch    arch
		profile string
		modules string
		rare    string
	}{
		{arm64, "generic", "clk_rk3399 dwmac_rk i2c_rk3x pcie_rockchip_host rk808 rk808_regulator", "clk_rk3399 dwmac_rk i2c_rk3x pcie_rockchip_host rk808 rk808_regulator"},
		{arm64, "virtual", "", ""},
		{amd64, "generic", "dwmac_rk", "dwmac_rk"},
	} {
		t.Run(tt.arch.String()+" "+tt.profile, func(t *testing.T) {
			k.arch = tt.arch
			chosen := choose(t, tt.profile)
			m, _, err := chooseModules(nil, k, chosen, nil)
			if err != nil {
				t.Fatal(err)
			}
			names := slices.Sorted(slices.Values(moduleNames(m)))
			if got := strings.Join(names, " "); got != tt.modules {
				t.Errorf("modules %s, want %s", got, tt.modules)
			}
			how := packRare(k, chosen, m)
			names = slices.DeleteFunc(names, func(name string) bool { return how[name] == unpacked })
			if got := strings.Join(names, " "); got != tt.rare {
				t.Errorf("packed by themselves %s, want %s", got, tt.rare)
			}
		})
	}
}
