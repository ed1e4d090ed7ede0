package initrd

import (
	"slices"
	"strings"
	"testing"
)

// The modules that make the kernel check signatures faster are in every image, are
// loaded before all others, and are not packed by themselves.
func TestSignatureModules(t *testing.T) {
	const x86 = "kernel/arch/x86/crypto/sha256-ssse3.ko:\nkernel/arch/x86/crypto/sha512-ssse3.ko:\nkernel/drivers/net/virtio_net.ko:"
	for name, tt := range map[string]struct {
		modules string
		config  kernelConfig
		want    string
	}{
		"sha256":     {x86, "\nCONFIG_MODULE_SIG_HASH=\"sha256\"\n", "sha256_ssse3"},
		"sha512":     {x86, "\nCONFIG_MODULE_SIG_HASH=\"sha512\"\n", "sha512_ssse3"},
		"other":      {x86, "\nCONFIG_MODULE_SIG_HASH=\"sha3-256\"\n", ""},
		"not signed": {x86, "\n# CONFIG_MODULE_SIG is not set\n", ""},
		"not said":   {x86, "", "sha256_ssse3"},
		"built in":   {"kernel/drivers/net/virtio_net.ko:", "\nCONFIG_MODULE_SIG_HASH=\"sha256\"\n", ""},
		"arm64":      {"kernel/arch/arm64/crypto/sha2-ce.ko: kernel/arch/arm64/crypto/sha256-arm64.ko\nkernel/arch/arm64/crypto/sha256-arm64.ko:", "", "sha2_ce sha256_arm64"},
	} {
		for _, profile := range []string{"generic", "virtual"} {
			t.Run(name+"/"+profile, func(t *testing.T) {
				k := parseKernel(t, tt.modules, "alias virtio:d* virtio_net\n", "", "")
				k.config = tt.config
				chosen := choose(t, profile)
				m, _, err := chooseModules(nil, k, chosen, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(m.First, " "); got != tt.want {
					t.Errorf("first %q, want %q", got, tt.want)
				}
				how := packRare(k, chosen, m)
				for _, name := range m.First {
					if !slices.Contains(moduleNames(m), name) || how[name] != unpacked {
						t.Errorf("%s is not in the image as it is", name)
					}
				}
			})
		}
	}
}

// A module that a site forbids, or that lacks what it needs, is left out: an image is as
// good without it.
func TestSignatureModulesLeftOut(t *testing.T) {
	for name, tt := range map[string]struct{ modules, conf, warning string }{
		"blacklist": {"kernel/arch/x86/crypto/sha256-ssse3.ko:", "blacklist sha256-ssse3", ""},
		"install":   {"kernel/arch/x86/crypto/sha256-ssse3.ko:", "install sha256_ssse3 /bin/false", ""},
		"broken":    {"kernel/arch/x86/crypto/sha256-ssse3.ko: kernel/crypto/gone.ko", "", "sha256_ssse3 is left out"},
	} {
		t.Run(name, func(t *testing.T) {
			k := parseKernel(t, tt.modules+"\nkernel/drivers/net/virtio_net.ko:", "alias virtio:d* virtio_net\n", "", "")
			k.conf = modprobeConf{blacklist: map[string]string{}}
			k.conf.parse("x.conf", tt.conf)
			m, warnings, err := chooseModules(nil, k, choose(t, "virtual"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.First) > 0 || slices.Contains(moduleNames(m), "sha256_ssse3") {
				t.Errorf("first %q of %q", m.First, moduleNames(m))
			}
			if all := strings.Join(warnings, "\n"); (all == "") != (tt.warning == "") || !strings.Contains(all, tt.warning) {
				t.Errorf("warnings %q, want %q", warnings, tt.warning)
			}
		})
	}
}
