package initrd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// writeHost writes a list of devices.
func writeHost(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "node")
	initrdtest.WriteFile(t, name, []byte(strings.Join(lines, "\n")))
	return name
}

// Devices of the nodes in these tests.
const (
	deviceR8169  = "pci:v000010ECd00008168sv00001043sd0000859Ebc02sc00i00"
	deviceE1000  = "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00"
	deviceNobody = "pci:v00001234d00005678sv00000000sd00000000bc02sc00i00"
	deviceGPU    = "pci:v00001002d00006613sv00001043sd0000859Ebc03sc00i00"
	deviceVirtio = "virtio:d00000001v00001AF4"
)

// hostTree is a tree with more drivers than initrdtest's.
func hostTree(t *testing.T) string {
	t.Helper()
	root := initrdtest.Tree(t)
	for _, m := range []initrdtest.Module{
		{Path: "kernel/drivers/usb/host/xhci-pci.ko", Aliases: []string{"pci:v*d*sv*sd*bc0Csc03i30*"}},
		{Path: "kernel/drivers/gpu/drm/radeon.ko", Aliases: []string{"pci:v00001002d*sv*sd*bc*sc*i*"}},
		{Path: "kernel/drivers/net/usb/ax88179.ko", Aliases: []string{"usb:v0B95p1790d*"}},
		{Path: "kernel/drivers/net/bonding/bonding.ko"},
		{Path: "updates/dkms/vendor.ko", Imports: []string{"alloc_etherdev_mqs"}, Aliases: []string{"pci:v0000ABCDd*sv*sd*bc*sc*i*"}},
	} {
		initrdtest.AddModule(t, root, m)
	}
	return root
}

// The drivers of the nodes' cards go in, and no others.
func TestHostProfile(t *testing.T) {
	root := hostTree(t)
	const xhci, adapter = "pci:v00008086d0000A12Fsv00001028sd00000770bc0Csc03i30", "usb:v0B95p1790d0100dc00dsc00dp00icFFiscFFip00in00"
	base := []string{"grace", "lockd", "nfs", "nfsv3", "nfsv4", "overlay", "sunrpc"}
	for _, tt := range []struct {
		name   string
		hosts  [][]string
		packed string
		others []string
		want   string
		warns  string
	}{
		{name: "one", hosts: [][]string{{"# a node", deviceR8169, deviceGPU, xhci, "pci:v00001AF4d00001005sv00001AF4sd00000004bc00scFFi00", "virtio:d00000004v00001AF4"}}, want: "libphy r8169 realtek"},
		{name: "two nodes", hosts: [][]string{{deviceR8169}, {deviceE1000}}, want: "e1000 libphy r8169 realtek"},
		{name: "two cards", hosts: [][]string{{deviceR8169, deviceE1000}}, want: "bonding e1000 libphy r8169 realtek"},
		{name: "virtio", hosts: [][]string{{"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", deviceVirtio}}, want: "virtio virtio_net virtio_pci"},
		{name: "behind USB", hosts: [][]string{{xhci, adapter}}, want: "ax88179 xhci_pci"},
		{name: "of a vendor", hosts: [][]string{{"pci:v0000ABCDd00000001sv00000000sd00000000bc02sc00i00"}}, want: "vendor"},
		{name: "a card without a driver", hosts: [][]string{{deviceR8169, deviceNobody}}, want: "libphy r8169 realtek",
			warns: "has no driver for the network card " + deviceNobody},
		{name: "with others", hosts: [][]string{{deviceR8169}}, others: []string{"virtual"},
			want: "bonding e1000 libphy r8169 realtek virtio virtio_net virtio_pci", packed: "bonding e1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := fakeOptions(t, root)
			opts.Profiles = tt.others
			for _, devices := range tt.hosts {
				opts.Profiles = append(opts.Profiles, "host="+writeHost(t, devices...))
			}
			rep, m := buildManifest(t, opts)
			want := slices.Sorted(slices.Values(slices.Concat(base, strings.Fields(tt.want))))
			if diff := cmp.Diff(want, moduleNames(m)); diff != "" {
				t.Errorf("modules (-want +got):\n%s", diff)
			}
			if !slices.Contains(m.Profiles, "host=FILE") || len(rep.Kernels[0].Hosts) != len(tt.hosts) {
				t.Errorf("profiles %q, hosts %+v", m.Profiles, rep.Kernels[0].Hosts)
			}
			warnings := strings.Join(rep.Warnings, "\n")
			if !strings.Contains(warnings, tt.warns) || (warnings == "") != (tt.warns == "") {
				t.Errorf("warnings %q, want %q", warnings, tt.warns)
			}
			// The nodes' own are sure to be needed.
			raw, err := os.ReadFile(opts.Output)
			if err != nil {
				t.Fatal(err)
			}
			packed := packedModules(t, raw)
			packed = slices.DeleteFunc(packed, func(name string) bool { return !slices.Contains(strings.Fields(tt.want), name) })
			if got := strings.Join(packed, " "); got != tt.packed {
				t.Errorf("packed by themselves %q, want %q", got, tt.packed)
			}
		})
	}
}

// The manifest has the aliases of the node's devices, and a boot.json and a list of
// modaliases give the same image, whatever their path.
func TestHostFile(t *testing.T) {
	root := hostTree(t)
	build := func(devices string) (*image.Manifest, string) {
		t.Helper()
		opts := fakeOptions(t, root)
		opts.Profiles = []string{"host=" + devices}
		_, m := buildManifest(t, opts)
		raw, err := os.ReadFile(opts.Output)
		if err != nil {
			t.Fatal(err)
		}
		return m, string(raw)
	}
	m, first := build(writeHost(t, deviceR8169))
	if diff := cmp.Diff([]image.Alias{{Pattern: "pci:v000010ECd00008168sv*sd*bc*sc*i*", Module: "r8169"}}, m.Aliases); diff != "" {
		t.Errorf("aliases (-want +got):\n%s", diff)
	}
	if _, again := build(writeHost(t, `{"version": "x", "devices": ["`+deviceR8169+`"]}`)); again != first {
		t.Error("the image of a boot.json is another one than that of a list")
	}
}

func TestHostErrors(t *testing.T) {
	root := hostTree(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		name, file, want string
		invalid          bool
	}{
		{"no file", "", "host= has no file: give a file with the devices of a node", true},
		{"the word of the help", "FILE", "host=FILE has no file", true},
		{"missing", filepath.Join(dir, "none"), "none: no such file or directory: give a file with the devices", false},
		{"a directory", dir, "not a regular file: give a file with the devices", false},
		{"empty", writeHost(t), "it has no devices", false},
		{"no modaliases", writeHost(t, "eth0 is an Intel card"), `line 1: "eth0 is an Intel card" is not a modalias`, false},
		{"an old boot.json", writeHost(t, `{"version": "x"}`), "this boot.json has no list of devices", false},
		{"damaged JSON", writeHost(t, `{"devices": [`), "JSON, but not a boot.json", false},
		{"no card", writeHost(t, deviceGPU), "kernel 6.1.0-test has no driver for a network card among its 1 devices: check that", false},
		{"no driver", writeHost(t, deviceGPU, deviceNobody), "among its 2 devices (not for " + deviceNobody + ")", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := fakeOptions(t, root)
			opts.Profiles = []string{"host=" + tt.file}
			_, err := Build(t.Context(), opts)
			wantOption(t, err, "Profiles", tt.invalid, tt.want)
			if _, err := os.Stat(opts.Output); err == nil {
				t.Error("there is an image")
			}
		})
	}
	t.Run("the output", func(t *testing.T) {
		opts := fakeOptions(t, root)
		opts.Output = writeHost(t, deviceR8169)
		opts.Profiles = []string{"host=" + opts.Output}
		_, err := Build(t.Context(), opts)
		wantOption(t, err, "Output", true, "is the same file as a node's list of devices")
	})
}
