package image

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPaths(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{ManifestPath("6.1.0-1"), "/lib/modules/6.1.0-1/sidusboot.manifest"},
		{ModulePath("6.1.0-1", "virtio_net"), "/lib/modules/6.1.0-1/virtio_net.ko"},
		{CanonicalName("xen-netfront"), "xen_netfront"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestManifestRoundTrip(t *testing.T) {
	for name, want := range map[string]*Manifest{
		"empty": {},
		"full": {
			Kernel:  "6.1.0-56-amd64",
			Profile: "generic",
			Modules: []Module{
				{Name: "sunrpc"},
				{Name: "nfs", Needs: []string{"grace", "lockd"}},
				{Name: "mlx4_core", After: []string{"mlx4_en"}},
				{Name: "e1000", Params: `copybreak=0 name="a b" params=1`},
				{Name: "all", Needs: []string{"a"}, After: []string{"b", "c"}, Params: "x=1,2"},
			},
			Load:    []string{"macvlan", "e1000"},
			Disks:   []string{"ahci", "nvme"},
			Builtin: []string{"af_packet", "unix"},
			Aliases: []Alias{
				{Pattern: "pci:v00001AF4d*sv*sd*bc*sc*i*", Module: "virtio_pci"},
				{Pattern: "usb:v0BDAp815[23]d*", Module: "r8152"},
			},
		},
	} {
		var b bytes.Buffer
		n, err := want.WriteTo(&b)
		if err != nil || n != int64(b.Len()) {
			t.Fatalf("%s: WriteTo = %d, %v, want %d", name, n, err, b.Len())
		}
		got, err := ReadManifest(&b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-written +read):\n%s", name, diff)
		}
	}
}

func TestWithProfile(t *testing.T) {
	for _, tt := range []struct{ have, module, want string }{
		{"virtual", "iscsi-tcp", "virtual iscsi"},
		{"generic disk", "sd_mod", "generic disk iscsi"},
		{"generic iscsi", "ext4", ""},
		{"generic", "ixgbe", ""},
	} {
		if got := strings.Join(WithProfile(strings.Fields(tt.have), tt.module), " "); got != tt.want {
			t.Errorf("%s and %s: got %q, want %q", tt.have, tt.module, got, tt.want)
		}
	}
}

func TestReadManifestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                           "first line",
		"sidusboot-manifest 2":                       "first line",
		manifestHeader + "\nkernel x\nfoo":           `line 3: unknown kind "foo"`,
		manifestHeader + "\nmodule":                  "line 2: module without a name",
		manifestHeader + "\nmodule a wants=b":        `line 2: module a: unknown word "wants=b"`,
		manifestHeader + "\nload":                    "line 2: load without a module",
		manifestHeader + "\nalias pci:x":             "line 2: alias without a module",
		manifestHeader + "\n":                        "",
		manifestHeader + strings.Repeat("x", 2<<20):  "manifest",
		manifestHeader + "\nmodule a needs=b after=": "",
	} {
		_, err := ReadManifest(strings.NewReader(text))
		if want == "" {
			if err != nil {
				t.Errorf("ReadManifest(%.60q) = %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadManifest(%.60q) = %v, want %q", text, err, want)
		}
	}
}

// A manifest is read by PID 1, where a panic is the kernel's.
func FuzzReadManifest(f *testing.F) {
	f.Add(manifestHeader + "\nkernel 6.1\nprofile generic\nmodule a needs=b,c after=d params=x y\nload a\nbuiltin e\nalias pci:* a\n")
	f.Add(manifestHeader + "\nmodule  needs=\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadManifest(strings.NewReader(text))
		if (m == nil) == (err == nil) {
			t.Fatalf("ReadManifest = %v, %v: want one of them", m, err)
		}
		if err != nil {
			return
		}
		if _, err := m.WriteTo(new(bytes.Buffer)); err != nil {
			t.Errorf("WriteTo: %v", err)
		}
	})
}
