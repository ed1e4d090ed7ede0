package kmod

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/image"
)

var manifest = &image.Manifest{
	Kernel: "6.1.0-test", Profiles: []string{"virtual", "disk"},
	Modules: []image.Module{
		{Name: "sunrpc"}, {Name: "lockd", Needs: []string{"sunrpc"}},
		{Name: "nfs", Needs: []string{"sunrpc", "lockd"}},
		{Name: "nfsv3", Needs: []string{"sunrpc", "lockd", "nfs"}},
		{Name: "virtio_pci"},
		{Name: "virtio_net", Params: "napi_tx=1", After: []string{"failover"}},
		{Name: "failover"},
		{Name: "broken", Needs: []string{"absent"}},
		{Name: "virtio_blk"},
	},
	Builtin: []string{"af_packet"},
	First:   []string{"failover", "sunrpc"},
	Load:    []string{"failover", "broken", "lockd"},
	Disks:   []string{"virtio_blk"},
	Aliases: []image.Alias{
		{Pattern: "pci:v00001AF4d00001041sv*sd*bc*sc*i*", Module: "virtio_pci"},
		{Pattern: "virtio:d00000001v*", Module: "virtio_net"},
		{Pattern: "virtio:d00000002v*", Module: "virtio_blk"},
	},
}

// A recorder is the kernel's side.
type recorder struct {
	mu     sync.Mutex
	loaded []string
	errs   map[string]error
	hook   func(name string)
}

func (r *recorder) insert(path, params string) error {
	name := strings.TrimSuffix(filepath.Base(path), ".ko")
	if r.hook != nil {
		r.hook(name)
	}
	if err := r.errs[name]; err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if params != "" {
		name += " " + params
	}
	r.loaded = append(r.loaded, name)
	return nil
}

func TestLoad(t *testing.T) {
	tests := []struct {
		name string
		load []string
		opts Options
		errs map[string]error
		want string
		err  string
	}{
		{name: "needs first", load: []string{"nfsv3"}, want: "sunrpc lockd nfs nfsv3"},
		{name: "once only", load: []string{"nfs", "nfsv3", "nfs"}, want: "sunrpc lockd nfs nfsv3"},
		{name: "built in", load: []string{"af-packet"}, want: ""},
		{name: "parameters and after", load: []string{"virtio-net"}, opts: Options{Params: map[string]string{"virtio_net": "csum=0"}},
			want: "virtio_net napi_tx=1 csum=0 failover"},
		{name: "in the kernel already", load: []string{"nfs"}, errs: map[string]error{"sunrpc": unix.EEXIST}, want: "lockd nfs"},
		{name: "not in the image", load: []string{"ixgbe"}, err: "initrdgen build --module ixgbe"},
		{name: "of a profile", load: []string{"iscsi_tcp"}, err: "initrdgen build --profile virtual,disk,iscsi"},
		{name: "a need not in the image", load: []string{"broken"}, err: "module absent for kernel 6.1.0-test is not in this image"},
		{name: "file gone", load: []string{"nfs"}, errs: map[string]error{"lockd": fs.ErrNotExist}, want: "sunrpc", err: "module lockd"},
		{name: "signature", load: []string{"sunrpc"}, errs: map[string]error{"sunrpc": unix.EKEYREJECTED}, err: "signature"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &recorder{errs: tt.errs}
			l := newLoader(manifest, "/", tt.opts, r.insert)
			err := l.Load(tt.load...)
			if got := strings.Join(r.loaded, " "); got != tt.want {
				t.Errorf("loaded %q, want %q", got, tt.want)
			}
			if (err != nil) != (tt.err != "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("Load = %v, want %q", err, tt.err)
			}
		})
	}
}

// A module of --module that fails is told, and the others are loaded.
func TestLoadNamed(t *testing.T) {
	r := &recorder{errs: map[string]error{"failover": unix.ENODEV}}
	l := newLoader(manifest, "/", Options{}, r.insert)
	err := l.LoadNamed()
	if got := strings.Join(r.loaded, " "); got != "sunrpc lockd" || err == nil || !strings.Contains(err.Error(), "absent") || strings.Contains(err.Error(), "failover") {
		t.Errorf("LoadNamed loaded %q, %v", got, err)
	}
}

// A processor that has no instructions for it keeps no other module from loading.
func TestLoadFirst(t *testing.T) {
	r := &recorder{errs: map[string]error{"failover": unix.ENODEV}}
	newLoader(manifest, "/", Options{}, r.insert).LoadFirst()
	if got := strings.Join(r.loaded, " "); got != "sunrpc" {
		t.Errorf("LoadFirst loaded %q", got)
	}
	r = &recorder{}
	newLoader(manifest, "/", Options{Blacklist: map[string]bool{"failover": true}}, r.insert).LoadFirst()
	if got := strings.Join(r.loaded, " "); got != "sunrpc" {
		t.Errorf("with failover forbidden, LoadFirst loaded %q", got)
	}
}

// Two who need the same module at the same time load it once, and both wait.
func TestLoadSideBySide(t *testing.T) {
	r := &recorder{}
	l := newLoader(manifest, "/", Options{}, r.insert)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := l.Load("nfsv3"); err != nil {
				t.Error(err)
			}
			if !slices.Contains(l.Loaded(), "nfsv3") {
				t.Error("Load returned before the module was in")
			}
		})
	}
	wg.Wait()
	if got, want := strings.Join(r.loaded, " "), "sunrpc lockd nfs nfsv3"; got != want {
		t.Errorf("loaded %q, want %q", got, want)
	}
}

// The virtio device appears when virtio_pci is in.
func TestLoadDevices(t *testing.T) {
	sysfs := t.TempDir()
	device := func(bus, name, modalias string) {
		dir := filepath.Join(sysfs, "bus", bus, "devices", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "modalias"), []byte(modalias+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	device("pci", "0000:00:02.0", "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00")
	device("pci", "0000:00:03.0", "pci:v00008086d0000100Esv0sd0bc02sc00i00")
	r := &recorder{hook: func(name string) {
		if name == "virtio_pci" {
			device("virtio", "virtio0", "virtio:d00000001v00001AF4")
			device("virtio", "virtio1", "virtio:d00000002v00001AF4")
		}
	}}
	got, err := newLoader(manifest, "/", Options{}, r.insert).LoadDevices(sysfs, nil)
	if want := "virtio_pci virtio_net"; strings.Join(got, " ") != want || err != nil {
		t.Errorf("LoadDevices = %q, %v, want %q", got, err, want)
	}
	got, err = newLoader(manifest, "/", Options{}, r.insert).LoadDisks(sysfs, map[string]bool{"virtio_net": true})
	if want := "virtio_pci virtio_blk"; strings.Join(got, " ") != want || err != nil {
		t.Errorf("LoadDisks = %q, %v, want %q", got, err, want)
	}
	device("acpi", "same", "virtio:d00000002v00001AF4")
	device("acpi", "none", "")
	if got := Devices(sysfs); len(got) != 4 || !slices.IsSorted(got) || got[3] != "virtio:d00000002v00001AF4" {
		t.Errorf("Devices = %q, want four, sorted", got)
	}
	r.loaded = nil
	banned := Options{Blacklist: map[string]bool{"virtio_net": true}}
	got, err = newLoader(manifest, "/", banned, r.insert).LoadDevices(sysfs, nil)
	if want := "virtio_pci"; strings.Join(got, " ") != want || err != nil {
		t.Errorf("LoadDevices with a blacklist = %q, %v, want %q", got, err, want)
	}
}

// Devices of a device tree are on other buses than their aliases say, and a PHY has none:
// the clock is on the platform bus, the regulator on I2C, the PHY behind the NIC.
func TestLoadDeviceTree(t *testing.T) {
	sysfs := t.TempDir()
	write := func(file, text string) {
		file = filepath.Join(sysfs, "bus", file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("platform/devices/1c0.clock/modalias", "of:NclockT(null)Cacme,clk\n")
	write("platform/devices/mfd-cell/modalias", "platform:acme-cell\n")
	write("i2c/devices/0-0010/modalias", "of:NregulatorT(null)Cacme,pmic\n")
	write("mdio_bus/devices/fixed-0:00/phy_id", "0x00000000\n")
	m := &image.Manifest{Kernel: "6.1.0-test",
		Modules: []image.Module{{Name: "clk_acme"}, {Name: "pmic_acme"}, {Name: "gmac"}, {Name: "realtek"}, {Name: "other_phy"}, {Name: "cell"}},
		Aliases: []image.Alias{
			{Pattern: "of:N*T*Cacme,clk", Module: "clk_acme"}, {Pattern: "of:N*T*Cacme,pmic", Module: "pmic_acme"},
			{Pattern: "of:N*T*Cacme,gmac", Module: "gmac"}, {Pattern: "platform:acme-cell", Module: "cell"},
			{Pattern: "mdio:0000000000011100110010010001????", Module: "realtek"}, {Pattern: "mdio:0000000000000000000000000000????", Module: "other_phy"},
		}}
	r := &recorder{hook: func(name string) {
		switch name {
		case "pmic_acme":
			write("platform/devices/1d0.ethernet/modalias", "of:NethernetT(null)Cacme,gmac\n")
		case "gmac":
			write("mdio_bus/devices/stmmac-0:01/phy_id", "0x001cc916\n")
		}
	}}
	got, err := newLoader(m, "/", Options{}, r.insert).LoadDevices(sysfs, nil)
	if want := "clk_acme cell pmic_acme gmac realtek"; strings.Join(got, " ") != want || err != nil {
		t.Errorf("LoadDevices = %q, %v, want %q", got, err, want)
	}
	if got := Devices(sysfs); !slices.Contains(got, "of:NethernetT(null)Cacme,gmac") || !slices.Contains(got, "mdio:00000000000111001100100100010110") {
		t.Errorf("Devices = %q, want those of the device tree and the PHY", got)
	}
}

func TestOpen(t *testing.T) {
	root := t.TempDir()
	var kernel *KernelError
	if _, err := Open(root, "6.1.0-test", Options{}); !errors.As(err, &kernel) || len(kernel.Have) != 0 {
		t.Errorf("Open of an empty image = %v, want a KernelError", err)
	}
	path := filepath.Join(root, image.ManifestPath("6.1.0-test"))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := *manifest
	whole.Modules = slices.DeleteFunc(slices.Clone(whole.Modules), func(m image.Module) bool { return m.Name == "broken" })
	whole.Load = nil
	text, err := whole.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	f.Close()
	l, err := Open(root, "6.1.0-test", Options{})
	if err != nil || !l.Has("nfsv3") || !l.Has("af-packet") || l.Has("ixgbe") {
		t.Fatalf("Open = %v, %v", l, err)
	}
	// A module that the manifest lists and the image lacks.
	var missing *MissingError
	if err := l.Load("nfs"); !errors.As(err, &missing) || missing.Name != "sunrpc" {
		t.Errorf("Load = %v, want a MissingError for sunrpc", err)
	}
	if _, err := Open(root, "6.12.1", Options{}); !errors.As(err, &kernel) || !strings.Contains(err.Error(), "6.1.0-test") {
		t.Errorf("Open for another kernel = %v, want a KernelError that names what there is", err)
	}
}

// Who is asked for before a module is loaded first, with its needs; one that does
// not load, or is not there, keeps no other from loading.
func TestBefore(t *testing.T) {
	m := &image.Manifest{Kernel: "6.1.0-test", Modules: []image.Module{
		{Name: "bus"}, {Name: "phy", Needs: []string{"bus"}}, {Name: "bad"}, {Name: "library"},
		{Name: "nic", Needs: []string{"library"}, Before: []string{"bad", "absent", "phy"}},
	}}
	r := &recorder{errs: map[string]error{"bad": unix.EKEYREJECTED}}
	l := newLoader(m, "/", Options{}, r.insert)
	if err := l.Load("nic"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.loaded, " "); got != "bus phy library nic" {
		t.Errorf("loaded %s, want bus phy library nic", got)
	}
}

// The devices of a node are those of every bus, and its processors.
func TestDevices(t *testing.T) {
	sysfs := t.TempDir()
	for name, text := range map[string]string{
		"bus/pci/devices/0000:00:03.0/modalias": "pci:b\n",
		"bus/pci/devices/0000:00:04.0/modalias": "pci:b\n",
		"bus/usb/devices/1-1/modalias":          "\n",
		"bus/usb/devices/1-2/uevent":            "MODALIAS=usb:a\n",
		"devices/system/cpu/modalias":           "cpu:type:x86,ven0000fam0006mod009E:feature:,0000\n",
	} {
		name = filepath.Join(sysfs, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"cpu:type:x86,ven0000fam0006mod009E:feature:,0000", "pci:b"}
	if got := Devices(sysfs); !slices.Equal(got, want) {
		t.Errorf("devices %q, want %q", got, want)
	}
}
