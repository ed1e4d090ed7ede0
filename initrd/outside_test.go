package initrd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// What DKMS and vendors install takes the kernel's own place, whatever folder
// it is in, and is known by what it asks the kernel for.
func TestOutsideDrivers(t *testing.T) {
	root := initrdtest.Tree(t)
	taken := []initrdtest.Module{
		{Path: "updates/dkms/mlx5_core.ko.xz", Imports: []string{"alloc_etherdev_mqs", "register_netdev"}, Aliases: []string{"pci:v000015B3d*"}},
		{Path: "updates/drivers/net/ice.ko", Imports: []string{"devm_alloc_etherdev_mqs"}, Aliases: []string{"pci:v00008086d*"}},
		{Path: "extra/r8125.ko.zst", Imports: []string{"alloc_etherdev_mqs"}, Aliases: []string{"pci:v000010ECd*"}},
		{Path: "weak-updates/aqc112.ko.gz", Imports: []string{"usbnet_probe"}, Aliases: []string{"usb:v2ECAp*"}},
		{Path: "updates/dkms/yt8531.ko", Imports: []string{"phy_drivers_register"}, Aliases: []string{"mdio:0100"}},
		// The driver of the device and the maker of its interfaces, apart.
		{Path: "updates/dkms/mlx4_core.ko", Imports: []string{"pci_enable_device"}, Aliases: []string{"pci:v000015B4d*"}},
		{Path: "updates/dkms/mlx4_en.ko", Deps: "updates/dkms/mlx4_core.ko", Imports: []string{"alloc_etherdev_mqs"}},
	}
	left := []initrdtest.Module{
		{Path: "updates/dkms/nvidia.ko", Imports: []string{"pci_enable_device"}, Aliases: []string{"pci:v000010DEd*"}},
		{Path: "updates/dkms/wl.ko", Imports: []string{"alloc_etherdev_mqs", "cfg80211_scan_done"}, Aliases: []string{"pci:v000014E4d*"}},
		{Path: "updates/dkms/r8188eu.ko", Imports: []string{"alloc_etherdev_mqs", "wireless_send_event"}, Aliases: []string{"usb:v0BDAp8179*"}},
		{Path: "updates/dkms/vboxnetadp.ko", Imports: []string{"alloc_etherdev_mqs"}, Aliases: []string{"devname:vboxnetctl"}},
		{Path: "extra/qmi_wwan.ko", Imports: []string{"usbnet_probe"}, Aliases: []string{"usb:v2C7Cp*"}},
		{Path: "extra/mellanox/mlxsw/mlxsw_spectrum.ko", Imports: []string{"alloc_etherdev_mqs"}, Aliases: []string{"pci:v000015B3d0000CB84*"}},
		{Path: "kernel/drivers/net/thunderbolt-net.ko", Imports: []string{"alloc_etherdev_mqs"}, Aliases: []string{"tbsvc:*"}},
	}
	for _, m := range slices.Concat(taken, left) {
		initrdtest.AddModule(t, root, m)
	}
	opts := fakeOptions(t, root)
	rep, m := buildManifest(t, opts)
	names := moduleNames(m)
	var wantOutside []OutsideModule
	for _, mod := range taken {
		name := moduleName(mod.Path)
		wantOutside = append(wantOutside, OutsideModule{name, mod.Path})
		if !slices.Contains(names, name) {
			t.Errorf("%s is not in the image", mod.Path)
		}
		for _, pattern := range mod.Aliases {
			if !slices.ContainsFunc(m.Aliases, func(a image.Alias) bool { return a.Pattern == pattern && a.Module == name }) {
				t.Errorf("%s has lost its alias %s", mod.Path, pattern)
			}
		}
	}
	for _, mod := range left {
		t.Run(fmt.Sprint(mod), func(t *testing.T) {
			if slices.Contains(names, moduleName(mod.Path)) {
				t.Errorf("%s is in the image", mod.Path)
			}
		})
	}
	checkOrder(t, m)

	byName := func(a, b OutsideModule) int { return strings.Compare(a.Name, b.Name) }
	got := rep.Kernels[0].Outside
	slices.SortFunc(got, byName)
	slices.SortFunc(wantOutside, byName)
	if diff := cmp.Diff(wantOutside, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

// weak-updates has links to the modules of another kernel.
func TestWeakUpdates(t *testing.T) {
	root := initrdtest.Tree(t)
	lib := filepath.Join(root, "usr/lib/modules")
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "weak-updates/ixgbe.ko", Imports: []string{"alloc_etherdev_mqs"}, Aliases: []string{"pci:v00008086d000010FB*"}})
	file := filepath.Join(lib, initrdtest.Release, "weak-updates/ixgbe.ko")
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
	_, m := buildManifest(t, opts)
	if names := moduleNames(m); !slices.Contains(names, "ixgbe") {
		t.Errorf("modules = %q, want ixgbe among them", names)
	}
}
