package image

import (
	"fmt"
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
		t.Run(tt.got, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("got %q, want %q", tt.got, tt.want)
			}
		})
	}
}

func TestManifestRoundTrip(t *testing.T) {
	for name, want := range map[string]*Manifest{
		"empty": {},
		"full": {
			Kernel:   "6.1.0-56-amd64",
			Profiles: []string{"generic"},
			Modules: []Module{
				{Name: "grace"}, {Name: "lockd", Needs: []string{"grace"}},
				{Name: "nfs", Needs: []string{"grace", "lockd"}},
				{Name: "mlx4_core", After: []string{"mlx4_en"}},
				{Name: "mlx4_en", Needs: []string{"mlx4_core"}},
				{Name: "e1000", Params: `copybreak=0 name="a b" params=1`},
				{Name: "r8152"}, {Name: "virtio_pci"}, {Name: "macvlan"}, {Name: "ahci"}, {Name: "nvme"},
				{Name: "all", Needs: []string{"grace"}, Before: []string{"e1000", "r8152"}, After: []string{"e1000", "nvme"}, Params: "x=1,2"},
			},
			First:    []string{"e1000"},
			Load:     []string{"macvlan", "e1000"},
			Disks:    []string{"ahci", "nvme"},
			USBHosts: []string{"macvlan"},
			Builtin:  []string{"af_packet", "unix"},
			Aliases: []Alias{
				{Pattern: "pci:v00001AF4d*sv*sd*bc*sc*i*", Module: "virtio_pci"},
				{Pattern: "usb:v0BDAp815[23]d*", Module: "r8152"},
			},
		},
	} {
		text, err := want.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := ReadManifest(strings.NewReader(text))
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
		t.Run(tt.have, func(t *testing.T) {
			if got := strings.Join(ProfilesWith(strings.Fields(tt.have), tt.module), " "); got != tt.want {
				t.Errorf("%s and %s: got %q, want %q", tt.have, tt.module, got, tt.want)
			}
		})
	}
}

func TestReadManifestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                            "first line",
		"sidusboot-manifest 2":                        "first line",
		manifestHeader + "\nkernel x\nfoo":            `line 3: unknown kind "foo"`,
		manifestHeader + "\nmodule":                   `line 2: module: name "" is empty`,
		manifestHeader + "\nmodule a wants=b":         `line 2: module a: unknown field "wants=b"`,
		manifestHeader + "\nload":                     `line 2: load: name "" is empty`,
		manifestHeader + "\nalias pci:x":              `line 2: alias: name "" is empty`,
		manifestHeader + "\nalias  a":                 `line 2: alias: pattern "" is empty`,
		manifestHeader + "\nalias pci:x a b":          `line 2: alias: name "a b" has a blank`,
		manifestHeader + "\n":                         "",
		manifestHeader + strings.Repeat("x", 2<<20):   "manifest",
		manifestHeader + "\nmodule a needs=b after=":  `line 2: module: name "" is empty`,
		manifestHeader + "\nmodule a needs=b,,c":      `line 2: module: name "" is empty`,
		manifestHeader + "\nmodule a\nmodule a":       "line 3: module a is listed twice",
		manifestHeader + "\nmodule ../a":              `name "../a" has a blank, a comma, a slash`,
		manifestHeader + "\nmodule a needs=../a":      `name "../a" has a blank, a comma, a slash`,
		manifestHeader + "\nmodule a after=b\x00":     `name "b\x00" has a blank`,
		manifestHeader + "\nkernel ../6.1":            `name "../6.1" has a blank`,
		manifestHeader + "\nprofile \x1b[2J":          `profile: name "\x1b[2J" has a blank`,
		manifestHeader + "\ndisk ":                    `disk: name "" is empty`,
		manifestHeader + "\nbuiltin a,b":              `builtin: name "a,b" has a blank`,
		manifestHeader + "\nalias pci:\x1b* a":        `alias: pattern "pci:\x1b*" has a blank`,
		manifestHeader + "\nmodule a params=x\x1b[2J": "has a control character",
		// These the loader deals with.
		manifestHeader + "\nmodule a needs=b":                   "",
		manifestHeader + "\nmodule a after=b\nmodule b after=a": "",
	} {
		t.Run(fmt.Sprintf("%.60q", text), func(t *testing.T) {
			_, err := ReadManifest(strings.NewReader(text))
			if want == "" {
				if err != nil {
					t.Errorf("ReadManifest(%.60q) = %v", text, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("ReadManifest(%.60q) = %v, want %q", text, err, want)
			}
		})
	}
}

// A manifest that could not be read back is not written.
func TestWriteManifestErrors(t *testing.T) {
	long := make([]string, 0, 1+MaxNeeds)
	var modules []Module
	for i := range 1 + MaxNeeds {
		long = append(long, fmt.Sprint("m", i))
		modules = append(modules, Module{Name: long[i]})
	}
	for want, m := range map[string]*Manifest{
		`module "a b" has a blank, a comma`:                 {Modules: []Module{{Name: "a b"}}},
		`module "a\nload b" has a blank, a comma`:           {Modules: []Module{{Name: "a\nload b"}}},
		`module a needs "b,c", which is not listed`:         {Modules: []Module{{Name: "b"}, {Name: "c"}, {Name: "a", Needs: []string{"b,c"}}}},
		`parameters of module a: "x\ny" has`:                {Modules: []Module{{Name: "a", Params: "x\ny"}}},
		`module a needs "b", which is not listed before it`: {Modules: []Module{{Name: "a", Needs: []string{"b"}}, {Name: "b"}}},
		`module a needs "a", which is not listed before it`: {Modules: []Module{{Name: "a", Needs: []string{"a"}}}},
		"module a is to be loaded after itself":             {Modules: []Module{{Name: "a", After: []string{"a"}}}},
		"module a is listed twice":                          {Modules: []Module{{Name: "a"}, {Name: "a"}}},
		`module a after=: module "b" is not listed`:         {Modules: []Module{{Name: "a", After: []string{"b"}}}},
		`module a before=: module "b" is not listed`:        {Modules: []Module{{Name: "a", Before: []string{"b"}}}},
		`first: module "b" is not listed`:                   {First: []string{"b"}},
		`load: module "b" is not listed`:                    {Load: []string{"b"}},
		`disk: module "b" is not listed`:                    {Disks: []string{"b"}},
		`usb: module "b" is not listed`:                     {USBHosts: []string{"b"}},
		`alias pci:*: module "b" is not listed`:             {Aliases: []Alias{{"pci:*", "b"}}},
		"is longer than 55 bytes":                           {Modules: []Module{{Name: strings.Repeat("a", 56)}}},
		`alias "pci: x" of module a has`:                    {Modules: []Module{{Name: "a"}}, Aliases: []Alias{{"pci: x", "a"}}},
		`kernel release "6.1 old" has`:                      {Kernel: "6.1 old"},
		`profile "a\n" has`:                                 {Profiles: []string{"a\n"}},
		`builtin module "" is empty`:                        {Builtin: []string{""}},
		"module big needs 4097 others, more than 4096":      {Modules: append(modules, Module{Name: "big", Needs: long})},
		`module "é" has a blank, a comma`:                   {Modules: []Module{{Name: "é"}}},
	} {
		t.Run(want, func(t *testing.T) {
			if text, err := m.Encode(); err == nil || !strings.Contains(err.Error(), want) || text != "" {
				t.Errorf("Encode = %q, %v, want %q", text, err, want)
			}
		})
	}
}

// A manifest is read by PID 1, where a panic is the kernel's. What can be
// written is read back as it was.
func FuzzReadManifest(f *testing.F) {
	f.Add(manifestHeader + "\nkernel 6.1\nprofile generic\nmodule b\nmodule c needs=b\nmodule d\nmodule a needs=b,c before=d after=d params=x y\nload a\nbuiltin e\nalias pci:* a\n")
	f.Add(manifestHeader + "\nmodule  needs=\n")
	f.Add(manifestHeader + "\nmodule a after=b\nmodule b after=a params= params=\r\n")
	f.Add(manifestHeader + "\r\nkernel \nkernel 6\ndisk a\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadManifest(strings.NewReader(text))
		if (m == nil) == (err == nil) {
			t.Fatalf("ReadManifest = %v, %v: want one of them", m, err)
		}
		if err != nil {
			return
		}
		encoded, err := m.Encode()
		if err != nil {
			return // What is needed is not listed.
		}
		again, err := ReadManifest(strings.NewReader(encoded))
		if err != nil {
			t.Fatalf("ReadManifest of what was written: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Errorf("read back (-first +second):\n%s", diff)
		}
		loaded := make(map[string]bool)
		for _, mod := range m.Modules {
			for _, need := range mod.Needs {
				if !loaded[need] {
					t.Errorf("%s needs %q, which is not loaded yet", mod.Name, need)
				}
			}
			loaded[mod.Name] = true
		}
	})
}
