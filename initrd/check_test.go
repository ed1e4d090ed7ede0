package initrd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// Devices of nodes, as sysfs has their modaliases.
const (
	virtioPCI = "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00"
	virtioNIC = "virtio:d00000001v00001AF4"
	r8169PCI  = "pci:v000010ECd00008168sv00001043sd00008677bc02sc00i00"
	usbNIC    = "usb:v0BDAp8152d2000dc00dsc00dp00icFFiscFFip00in00"
	wlanPCI   = "pci:v0000168Cd0000002Asv0000144Fsd00007152bc02sc80i00"
	soundPCI  = "pci:v00008086d0000A170sv00001043sd00008698bc04sc03i00"
	newPCI    = "pci:v0000FFFFd00000001sv00000000sd00000000bc02sc00i00"
	ahciPCI   = "pci:v00008086d0000A102sv00001043sd00008694bc01sc06i01"
)

// builtImage builds an image of a small tree.
func builtImage(t *testing.T, root string, profiles ...string) []byte {
	t.Helper()
	opts := fakeOptions(t, root)
	opts.Profiles = profiles
	if _, err := Build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	img, err := os.ReadFile(opts.Output)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// foreignImage is one as initramfs-tools makes it of the small tree: microcode first,
// modules with their paths, what depmod writes about them.
func foreignImage(t *testing.T, root string, without ...string) []byte {
	t.Helper()
	const dir = "usr/lib/modules/" + initrdtest.Release + "/"
	members := []member{file("init", "#!/bin/sh"), file("conf/initramfs.conf", "MODULES=netboot\n")}
	for _, name := range []string{"modules.alias", "modules.builtin"} {
		text, err := os.ReadFile(filepath.Join(root, dir, name))
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, file(dir+name, string(text)))
	}
	dep := ""
	for _, m := range initrdtest.Modules() {
		if !slices.Contains(without, moduleName(m.Path)) {
			members = append(members, file(dir+m.Path, "a module"))
			dep += m.Path + ": " + m.Deps + "\n"
		}
	}
	members = append(members, file(dir+"modules.dep", dep))
	return append(early(), packAs(t, "zstd", newc(members...))...)
}

func TestCheck(t *testing.T) {
	root := initrdtest.Tree(t)
	// The tree's kernel has overlay, but its own modules drive nothing else.
	ours, virtual := builtImage(t, root, "generic"), builtImage(t, root, "virtual")
	other := initrdtest.Tree(t)
	if err := os.Rename(filepath.Join(other, "usr/lib/modules", initrdtest.Release), filepath.Join(other, "usr/lib/modules/6.2.0-test")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		image   []byte
		root    string
		devices []string
		boots   bool
		want    []string // Of reasons and notes.
		not     string
	}{
		{name: "a virtual machine", image: ours, root: root, devices: []string{virtioPCI, virtioNIC, soundPCI}, boots: true},
		{name: "without the tree", image: ours, devices: []string{virtioPCI, virtioNIC}, boots: true},
		{name: "a driver of another profile", image: virtual, root: root, devices: []string{r8169PCI},
			want: []string{"its driver r8169 is missing", "build the image again with the profile generic, or with the module r8169"}},
		{name: "one of two cards", image: virtual, root: root, devices: []string{r8169PCI, virtioPCI, virtioNIC}, boots: true,
			want: []string{"its driver r8169 is missing"}},
		{name: "a driver of another profile, without the tree", image: virtual, devices: []string{r8169PCI},
			want: []string{"the image has no driver for it", "give the tree"}},
		{name: "a driver that modprobe.d forbids", image: ours, root: root, devices: []string{usbNIC},
			want: []string{"r8152 is in the image, but a blacklist or install line in the tree's modprobe.d keeps it from being loaded", "build the image again with the module r8152"}},
		{name: "a card that the kernel does not know", image: ours, root: root, devices: []string{newPCI},
			want: []string{"this kernel has no driver for it"}},
		{name: "wireless alone", image: ours, root: root, devices: []string{wlanPCI}, want: []string{"none of the devices is a network card"}},
		{name: "no card", image: ours, root: root, devices: []string{soundPCI}, want: []string{"none of the devices is a network card"}},
		{name: "another kernel", image: ours, root: other, devices: []string{virtioPCI, virtioNIC},
			want: []string{"the image is for kernel 6.1.0-test, but the tree has no modules for that kernel"}},
		{name: "of initramfs-tools", image: foreignImage(t, root), root: root, devices: []string{virtioPCI, virtioNIC}, boots: true},
		{name: "of initramfs-tools, without the tree", image: foreignImage(t, root), devices: []string{r8169PCI}, boots: true},
		{name: "of initramfs-tools, a dependency is missing", image: foreignImage(t, root, "libphy"), root: root, devices: []string{r8169PCI},
			want: []string{"its driver r8169 is without modules that it needs (libphy)", "add a line libphy to /etc/initramfs-tools/modules"}},
		{name: "of initramfs-tools, without the bus", image: foreignImage(t, root, "virtio_pci"), root: root, devices: []string{virtioPCI, virtioNIC},
			want: []string{"the image has no driver for its bus (virtio_pci)", "add a line virtio_pci to"}},
		{name: "of initramfs-tools, without NFS", image: foreignImage(t, root, "nfsv3", "sunrpc"), root: root, devices: []string{virtioPCI, virtioNIC},
			want: []string{"sunrpc is missing, and is needed to mount the root", "nfsv3, sunrpc is missing"}},
		{name: "without modules", image: newc(file("init", "#!/bin/sh")), devices: []string{virtioNIC}, want: []string{"has no kernel modules"}},
		{name: "without init", image: newc(file("linuxrc", "#!/bin/sh")), devices: []string{virtioNIC}, want: []string{"has no /init"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Check(bytes.NewReader(tt.image), CheckOptions{Devices: tt.devices, Root: tt.root})
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, f := range append(v.Reasons, v.Notes...) {
				all.WriteString(f.Text + ": " + f.Remedy + "\n")
			}
			if v.Boots != tt.boots {
				t.Errorf("boots = %v, want %v: %s", v.Boots, tt.boots, all.String())
			}
			for _, want := range tt.want {
				if !strings.Contains(all.String(), want) {
					t.Errorf("findings = %s, want %q", all.String(), want)
				}
			}
		})
	}
}

// Dracut's images are known by its files; its archive of microcode may be followed by one
// that is compressed as Debian and Fedora do it.
func TestCheckDracut(t *testing.T) {
	const (
		dir   = "usr/lib/modules/" + initrdtest.Release + "/"
		alias = "alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169\n"
		dep   = "kernel/drivers/net/ethernet/realtek/r8169.ko.xz: kernel/drivers/net/phy/libphy.ko.xz\n"
	)
	main := newc(member{name: "init", mode: 0o120777, data: "usr/lib/systemd/systemd"}, file("usr/lib/dracut/build-parameter.txt", "--no-hostonly"),
		file("usr/lib/initrd-release", "NAME=dracut\n"), member{name: "etc/initrd-release", mode: 0o120777, data: "../usr/lib/initrd-release"},
		file(dir+"kernel/drivers/net/ethernet/realtek/r8169.ko.xz", "x"), file(dir+"modules.dep", dep), file(dir+"modules.alias", alias))
	for _, name := range []string{"zstd", "gzip", "xz"} {
		t.Run(name, func(t *testing.T) {
			img := append(early(), packAs(t, name, main)...)
			v, err := Check(bytes.NewReader(img), CheckOptions{Devices: []string{r8169PCI}})
			if err != nil {
				t.Fatal(err)
			}
			want := Finding{"network card " + r8169PCI + ": its driver r8169 is without modules that it needs (libphy)",
				`write add_drivers+=" libphy " into a file in /etc/dracut.conf.d and run dracut --force`}
			if v.Boots || v.Generator != Dracut || !slices.Contains(v.Reasons, want) {
				t.Errorf("%s: %+v", name, v)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		modalias, module, file string
		want                   DeviceKind
	}{
		{virtioPCI, "virtio_pci", "kernel/drivers/virtio/virtio_pci.ko", Bus},
		{virtioNIC, "virtio_net", "", NIC}, {r8169PCI, "", "", NIC}, {wlanPCI, "ath9k", "kernel/drivers/net/wireless/ath9k.ko", Other},
		{usbNIC, "r8152", "kernel/drivers/net/usb/r8152.ko", NIC}, {ahciPCI, "ahci", "", Disk}, {soundPCI, "snd_hda_intel", "kernel/sound/pci/hda/snd-hda-intel.ko", Other},
		{"platform:Fixed MDIO bus", "", "", Other}, {"pci:bc02", "", "", Other}, {"", "", "", Other},
	} {
		t.Run(tt.modalias, func(t *testing.T) {
			if got := kindOf(tt.modalias, tt.module, tt.file); got != tt.want {
				t.Errorf("kindOf(%s, %s) = %s, want %s", tt.modalias, tt.module, got, tt.want)
			}
		})
	}
}

func TestReadDevices(t *testing.T) {
	for text, want := range map[string]string{
		"# node 7\n" + virtioNIC + "\r\n\n" + r8169PCI: virtioNIC + " " + r8169PCI,
		"platform:Fixed MDIO bus\n":                    "platform:Fixed MDIO bus",
		`{"kernel": "6.1", "devices": ["a:b", "c:d"]}`: "a:b c:d",
	} {
		t.Run(fmt.Sprintf("%.60q", text), func(t *testing.T) {
			got, err := ReadDevices(strings.NewReader(text))
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("ReadDevices(%q) = %q, %v", text, got, err)
			}
		})
	}
	for text, want := range map[string]string{
		"":                               "it has no devices",
		"# nothing":                      "it has no devices",
		"eth0\n":                         `line 1: "eth0" is not a modalias`,
		"pci:x\n\x1b[2J:\n":              "line 2",
		"{}":                             "has no list of devices",
		`{"devices": []}`:                "it has no devices",
		"{":                              "JSON, but not a boot.json",
		strings.Repeat("pci:x\n", 1<<20): "more than 4 MB",
	} {
		t.Run(fmt.Sprintf("%.60q", text), func(t *testing.T) {
			if got, err := ReadDevices(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("ReadDevices(%.20q) = %d devices, %v, want %q", text, len(got), err, want)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	first := append(early(), packAs(t, "gzip", newc(file("same", "x"), file("conf", "old"), member{name: "link", mode: 0o120777, data: "a"},
		file("usr/lib/modules/1/kernel/a.ko.xz", "a"), file("usr/lib/modules/1/kernel/gone.ko", "a"),
		member{name: "l1", mode: 0o100644, links: 2, ino: 8}, member{name: "l2", mode: 0o100644, links: 2, ino: 8, data: "shared"}))...)
	second := newc(file("same", "x"), file("conf", "older"), file("conf", "new"), member{name: "link", mode: 0o120777, data: "b"}, file("lib/modules/1/a.ko", "a"),
		file("l1", "shared"), member{name: "l2", mode: 0o100600, data: "shared"}, member{name: "kernel", mode: 0o040755})
	d, err := Diff(bytes.NewReader(first), bytes.NewReader(second))
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, c := range d.Changed {
		changed = append(changed, c.Path+" "+strings.Join(c.What, "+"))
	}
	for _, tt := range []struct {
		what string
		got  []string
		want string
	}{
		{"only first", d.OnlyFirst, "kernel/x86 kernel/x86/microcode kernel/x86/microcode/GenuineIntel.bin usr/lib/modules/1/kernel/a.ko.xz usr/lib/modules/1/kernel/gone.ko"},
		{"only second", d.OnlySecond, "lib/modules/1/a.ko"},
		{"changed", changed, "conf content l2 mode link link"},
		{"modules only first", d.ModulesOnlyFirst, "gone"},
		{"modules only second", d.ModulesOnlySecond, ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if got := strings.Join(tt.got, " "); got != tt.want {
				t.Errorf("%s = %q, want %q", tt.what, got, tt.want)
			}
		})
	}
	if d.Same != 3 || d.Equal() {
		t.Errorf("%d the same, equal %v, want 3 and not", d.Same, d.Equal())
	}
	if d, err := Diff(bytes.NewReader(first), bytes.NewReader(first)); err != nil || !d.Equal() {
		t.Errorf("an image and itself: %+v, %v", d, err)
	}
	if _, err := Diff(bytes.NewReader(first), bytes.NewReader(first[:len(first)-20])); err == nil || !strings.HasPrefix(err.Error(), "second image: archive at byte 1024") {
		t.Errorf("a damaged image: %v", err)
	}
}

func TestCat(t *testing.T) {
	img := bytes.NewReader(newc(member{name: "lib", mode: 0o120777, data: "/usr/lib"}, file("usr/lib/x", "old"), file("usr/lib/x", "new"),
		member{name: "a", mode: 0o120777, data: "b"}, member{name: "b", mode: 0o120777, data: "a"}, member{name: "d", mode: 0o040755},
		member{name: "up", mode: 0o120777, data: "../../lib/../lib/x"}, member{name: "null", mode: 0o020666}))
	for name, want := range map[string]string{
		"usr/lib/x": "new", "/lib/x": "new", "lib/./x": "new", "up": "new",
		"lib/y": "lib/y: the image has no such file", "a": "a loop of links", "d": "a directory, not a file", "null": "a device",
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Cat(&b, img, name); err != nil {
				b.WriteString(err.Error())
			}
			if !strings.Contains(b.String(), want) {
				t.Errorf("Cat(%s) = %s, want %s", name, b.String(), want)
			}
			if _, err := img.Seek(0, 0); err != nil {
				t.Fatal(err)
			}
		})
	}
}
