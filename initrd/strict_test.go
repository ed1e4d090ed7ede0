package initrd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// With Strict what would be a warning is an error, and nothing is written.
func TestStrict(t *testing.T) {
	clean := microcodeTree(t)
	if err := os.Remove(filepath.Join(clean, "etc/modprobe.d/site.conf")); err != nil {
		t.Fatal(err)
	}
	parameters := filepath.Join(t.TempDir(), "parameters")
	initrdtest.WriteFile(t, parameters, []byte("sidus.rw=tmpfs\nsidus.iscsi.password=geheimgeheim\n"))
	for name, tt := range map[string]struct {
		prepare func(root string, opts *Options)
		want    []string
	}{
		"nothing to find": {func(string, *Options) {}, nil},
		"advice":          {func(_ string, opts *Options) { opts.Config = parameters }, nil},
		"missing firmware": {func(root string, _ *Options) {
			os.Remove(filepath.Join(root, "usr/lib/firmware/rtl_nic/gone.fw"))
		}, []string{"r8169 asks for firmware that is not in ", "rtl_nic/gone.fw"}},
		"missing firmware that is allowed": {func(root string, opts *Options) {
			os.Remove(filepath.Join(root, "usr/lib/firmware/rtl_nic/gone.fw"))
			os.Remove(filepath.Join(root, "usr/lib/firmware/rtl_nic/a.fw"))
			opts.AllowMissing = []string{"x", "rtl_nic/[ag]*"}
		}, nil},
		"missing firmware besides what is allowed": {func(root string, opts *Options) {
			os.Remove(filepath.Join(root, "usr/lib/firmware/rtl_nic/gone.fw"))
			os.Remove(filepath.Join(root, "usr/lib/firmware/rtl_nic/a.fw"))
			opts.AllowMissing = []string{"rtl_nic/gone.fw", "rtl_nic"}
		}, []string{"r8169 asks for firmware that is not in ", ": rtl_nic/a.fw"}},
		"firmware that no package has": {func(root string, _ *Options) {
			addFirmwareDriver(t, root, "acenic", "acenic/tg1.bin", "acenic/tg2.bin")
		}, nil},
		"firmware that no package has, and another": {func(root string, _ *Options) {
			addFirmwareDriver(t, root, "acenic", "acenic/tg1.bin", "acenic/tg3.bin")
		}, []string{"no firmware for the drivers acenic, and", "acenic asks for firmware that is not in ", ": acenic/tg3.bin"}},
		"firmware that a driver works without": {func(root string, _ *Options) {
			addFirmwareDriver(t, root, "isci", "isci/isci_firmware.bin")
		}, nil},
		"a driver that is forbidden": {func(root string, _ *Options) {
			initrdtest.WriteFile(t, filepath.Join(root, "etc/modprobe.d/x.conf"), []byte("blacklist e1000\n"))
		}, []string{"x.conf keeps e1000"}},
		"damaged microcode": {func(root string, _ *Options) {
			initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/firmware/intel-ucode/06-01-01"), []byte("x"))
		}, []string{"06-01-01: not microcode"}},
		"an unknown parameter": {func(_ string, opts *Options) {
			opts.Config = filepath.Join(t.TempDir(), "unknown")
			initrdtest.WriteFile(t, opts.Config, []byte("sidus.rv=tmpfs\n"))
		}, []string{"sidus.rv"}},
		"a card without a driver": {func(_ string, opts *Options) {
			opts.Profiles = []string{"host=" + writeHost(t, deviceR8169, deviceNobody)}
		}, []string{deviceNobody}},
	} {
		for _, dry := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dry run %v", name, dry), func(t *testing.T) {
				root := t.TempDir()
				copyTree(t, clean, root)
				opts := fakeOptions(t, root)
				tt.prepare(root, &opts)
				opts.Strict, opts.DryRun = true, dry
				_, err := Build(t.Context(), opts)
				strict := (*StrictError)(nil)
				if errors.As(err, &strict) != (tt.want != nil) || tt.want == nil && err != nil {
					t.Fatalf("error %v, want one with %q", err, tt.want)
				}
				for _, text := range tt.want {
					wantOption(t, err, "Strict", false, text)
				}
				if _, statErr := os.Stat(opts.Output); (statErr == nil) != (err == nil && !dry) {
					t.Errorf("%v: %v", err, statErr)
				}
			})
		}
	}
}

// addFirmwareDriver adds a NIC's driver that asks for firmware.
func addFirmwareDriver(t *testing.T, root, name string, firmware ...string) {
	t.Helper()
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/" + name + ".ko", Firmware: firmware})
}

// The report has all files that are missing, and apart those about which nothing is said.
func TestTolerated(t *testing.T) {
	root := initrdtest.Tree(t)
	addFirmwareDriver(t, root, "acenic", "acenic/tg1.bin")
	addFirmwareDriver(t, root, "none", "none/a.bin", "none/b.bin")
	opts := fakeOptions(t, root)
	opts.Profiles, opts.AllowMissing = []string{"generic"}, []string{"none/*"}
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	want := FirmwareReport{
		Missing:        []string{"acenic/tg1.bin", "none/a.bin", "none/b.bin", "rtl_nic/gone.fw"},
		Tolerated:      []string{"acenic/tg1.bin", "none/a.bin", "none/b.bin"},
		DriversWithout: []string{"acenic", "none"},
		MissingFor:     map[string][]string{"acenic": {"acenic/tg1.bin"}, "none": {"none/a.bin", "none/b.bin"}, "r8169": {"rtl_nic/gone.fw"}},
	}
	if diff := cmp.Diff(want, rep.Firmware, cmpopts.IgnoreFields(FirmwareReport{}, "Files", "Bytes")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, w := range rep.Warnings {
		if strings.Contains(w, "firmware") {
			t.Errorf("warning %q", w)
		}
	}
	for _, pattern := range []string{"", "[", "a/[b"} {
		t.Run(pattern, func(t *testing.T) {
			opts.AllowMissing = []string{"ok", pattern}
			_, err := Build(t.Context(), opts)
			wantOption(t, err, "AllowMissing", true, "is not a pattern")
		})
	}
}
