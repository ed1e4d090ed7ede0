package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/image"
)

// What DKMS and vendors install takes the kernel's own place, whatever folder
// it is in, and is known by what it asks the kernel for.
func TestOutsideDrivers(t *testing.T) {
	root := fakeTree(t)
	taken := []fakeModule{
		{path: "updates/dkms/mlx5_core.ko.xz", imports: []string{"alloc_etherdev_mqs", "register_netdev"}, aliases: []string{"pci:v000015B3d*"}},
		{path: "updates/drivers/net/ice.ko", imports: []string{"devm_alloc_etherdev_mqs"}, aliases: []string{"pci:v00008086d*"}},
		{path: "extra/r8125.ko.zst", imports: []string{"alloc_etherdev_mqs"}, aliases: []string{"pci:v000010ECd*"}},
		{path: "weak-updates/aqc112.ko.gz", imports: []string{"usbnet_probe"}, aliases: []string{"usb:v2ECAp*"}},
		{path: "updates/dkms/yt8531.ko", imports: []string{"phy_drivers_register"}, aliases: []string{"mdio:0100"}},
		// The driver of the device and the maker of its interfaces, apart.
		{path: "updates/dkms/mlx4_core.ko", imports: []string{"pci_enable_device"}, aliases: []string{"pci:v000015B4d*"}},
		{path: "updates/dkms/mlx4_en.ko", deps: "updates/dkms/mlx4_core.ko", imports: []string{"alloc_etherdev_mqs"}},
	}
	left := []fakeModule{
		{path: "updates/dkms/nvidia.ko", imports: []string{"pci_enable_device"}, aliases: []string{"pci:v000010DEd*"}},
		{path: "updates/dkms/wl.ko", imports: []string{"alloc_etherdev_mqs", "cfg80211_scan_done"}, aliases: []string{"pci:v000014E4d*"}},
		{path: "updates/dkms/r8188eu.ko", imports: []string{"alloc_etherdev_mqs", "wireless_send_event"}, aliases: []string{"usb:v0BDAp8179*"}},
		{path: "updates/dkms/vboxnetadp.ko", imports: []string{"alloc_etherdev_mqs"}, aliases: []string{"devname:vboxnetctl"}},
		{path: "extra/qmi_wwan.ko", imports: []string{"usbnet_probe"}, aliases: []string{"usb:v2C7Cp*"}},
		{path: "extra/mellanox/mlxsw/mlxsw_spectrum.ko", imports: []string{"alloc_etherdev_mqs"}, aliases: []string{"pci:v000015B3d0000CB84*"}},
		{path: "kernel/drivers/net/thunderbolt-net.ko", imports: []string{"alloc_etherdev_mqs"}, aliases: []string{"tbsvc:*"}},
	}
	for _, m := range slices.Concat(taken, left) {
		addModule(t, root, m)
	}
	opts := fakeOptions(t, root)
	rep, err := build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	m := readManifest(t, unpack(t, opts.Output), fakeRelease)
	names := moduleNames(m)
	var wantOutside []outsideModule
	for _, mod := range taken {
		name := moduleName(mod.path)
		wantOutside = append(wantOutside, outsideModule{name, mod.path})
		if !slices.Contains(names, name) {
			t.Errorf("%s is not in the image", mod.path)
		}
		for _, pattern := range mod.aliases {
			if !slices.ContainsFunc(m.Aliases, func(a image.Alias) bool { return a.Pattern == pattern && a.Module == name }) {
				t.Errorf("%s has lost its alias %s", mod.path, pattern)
			}
		}
	}
	for _, mod := range left {
		if slices.Contains(names, moduleName(mod.path)) {
			t.Errorf("%s is in the image", mod.path)
		}
	}
	checkOrder(t, m)

	byName := func(a, b outsideModule) int { return strings.Compare(a.Name, b.Name) }
	got := rep.Kernels[0].Outside
	slices.SortFunc(got, byName)
	slices.SortFunc(wantOutside, byName)
	if diff := cmp.Diff(wantOutside, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	var out strings.Builder
	rep.print(&out, false)
	if want := "mlx5_core (updates/dkms/mlx5_core.ko.xz)"; !strings.Contains(out.String(), want) {
		t.Errorf("report = %s, want %q in it", out.String(), want)
	}
	for _, name := range []string{"nvidia", "sidusboot"} {
		if strings.Contains(out.String(), name) {
			t.Errorf("report names %s: %s", name, out.String())
		}
	}
}

// weak-updates has links to the modules of another kernel.
func TestWeakUpdates(t *testing.T) {
	root := fakeTree(t)
	lib := filepath.Join(root, "usr/lib/modules")
	addModule(t, root, fakeModule{path: "weak-updates/ixgbe.ko", imports: []string{"alloc_etherdev_mqs"}, aliases: []string{"pci:v00008086d000010FB*"}})
	file := filepath.Join(lib, fakeRelease, "weak-updates/ixgbe.ko")
	if err := os.MkdirAll(filepath.Join(lib, "6.0.0-other/extra"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, filepath.Join(lib, "6.0.0-other/extra/ixgbe.ko")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/lib/modules/6.0.0-other/extra/ixgbe.ko", file); err != nil {
		t.Fatal(err)
	}
	opts := fakeOptions(t, root)
	if _, err := build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if names := moduleNames(readManifest(t, unpack(t, opts.Output), fakeRelease)); !slices.Contains(names, "ixgbe") {
		t.Errorf("modules = %q, want ixgbe among them", names)
	}
}
