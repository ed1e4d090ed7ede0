package initrd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

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
