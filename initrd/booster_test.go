package initrd

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// boosterYAML is what booster's generator writes for its /init.
const boosterYAML = `network:
    dhcp: true
moduledependencies:
    "8021q":
        - garp
    r8169:
        - mdio_devres
        - libphy
modulepostdependencies:
    libphy:
        - realtek
modulesforceload:
    - virtio_pci
modprobeoptions:
    e1000: copybreak=0
builtinmodules:
    af-packet: true
    libphy: true
kernel: ` + initrdtest.Release + `
mounttimeout: 180
virtualconsole:
    keymapfile: kernel
`

// boosterImage is an image as booster writes it, in its order and by its libraries: an
// archive with directories of its own, links for older places, modules that are
// unpacked and have no directory. Its devices are those of one machine, with an r8169.
func boosterImage(t *testing.T, yaml string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	add := func(name string, mode cpio.FileMode, content string) {
		t.Helper()
		if err := w.WriteHeader(&cpio.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	const dir, link, regular = cpio.TypeDir | 0o755, cpio.TypeSymlink | 0o777, cpio.TypeReg | 0o644
	add("usr", dir, "")
	add("usr/lib", dir, "")
	add("lib", link, "usr/lib")
	add("usr/local", dir, "")
	add("usr/local/lib", link, "../lib")
	add("usr/bin", dir, "")
	add("usr/sbin", link, "bin")
	add("run", dir, "")
	add("var", dir, "")
	add("var/run", link, "../run")
	add("init", cpio.TypeReg|0o755, "a program")
	add("usr/lib/modules", dir, "")
	for _, name := range []string{"r8169", "mdio_devres", "virtio_pci", "virtio_net", "e1000", "nfs", "nfsv3"} {
		add("usr/lib/modules/"+name+".ko", regular, "module "+name)
	}
	add("usr/lib/modules/booster.alias", regular, "pci:v000010ECd00008168sv*sd*bc*sc*i* r8169\nvirtio:d00000001v* virtio_net\n")
	add("etc", dir, "")
	add("etc/booster.init.yaml", regular, yaml)
	add("etc/initrd-release", regular, "")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packAs(t, "zstd", b.Bytes())
}

func TestParseBooster(t *testing.T) {
	want := boosterConfig{
		release: initrdtest.Release,
		deps:    map[string][]string{"8021q": {"garp"}, "r8169": {"mdio_devres", "libphy"}},
		builtin: []string{"af_packet", "libphy"},
		force:   []string{"virtio_pci"},
	}
	// A list may be in the column of its key, as other writers of YAML have it.
	flat := strings.ReplaceAll(strings.ReplaceAll(boosterYAML, "\n        - ", "\n    - "), "\n    - virtio", "\n- virtio")
	for name, text := range map[string]string{"indented": boosterYAML, "flat": flat, "CR": strings.ReplaceAll(boosterYAML, "\n", "\r\n")} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, parseBooster(text), cmp.AllowUnexported(boosterConfig{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	for _, text := range []string{"", "kernel", ":", "- a\n", "    a: b\n", "moduledependencies: {}\n- x\n", "builtinmodules:\n    - x\n"} {
		t.Run(text, func(t *testing.T) {
			empty := boosterConfig{deps: map[string][]string{}}
			if diff := cmp.Diff(empty, parseBooster(text), cmp.AllowUnexported(boosterConfig{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestInspectBooster(t *testing.T) {
	img := boosterImage(t, boosterYAML)
	l, err := List(bytes.NewReader(img))
	if err != nil || len(l.Archives) != 1 || l.Archives[0].Compression != "zstd" || len(l.Files) != 23 {
		t.Fatalf("archives %+v, %d files, %v", l.Archives, len(l.Files), err)
	}
	var b bytes.Buffer
	if err := Cat(&b, bytes.NewReader(img), "/usr/lib/modules/r8169.ko"); err != nil || b.String() != "module r8169" {
		t.Errorf("cat: %q, %v", b.String(), err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := Extract(t.Context(), bytes.NewReader(img), dir); err != nil {
		t.Fatal(err)
	}
	got := snapshot(t, dir)
	for name, want := range map[string]string{
		"lib": "Lrwxrwxrwx usr/lib", "usr/sbin": "Lrwxrwxrwx bin", "init": "-rwxr-xr-x a program", "usr/lib/modules/nfs.ko": "-rw-r--r-- module nfs",
	} {
		if got[name] != want {
			t.Errorf("%s is extracted as %q, want %q", name, got[name], want)
		}
	}
	other, err := Diff(bytes.NewReader(img), bytes.NewReader(builtImage(t, initrdtest.Tree(t), "generic")))
	if err != nil || !slices.Contains(other.ModulesOnlyFirst, "mdio_devres") || slices.Contains(other.ModulesOnlyFirst, "nfs") {
		t.Errorf("modules only in booster's: %q, %v", other.ModulesOnlyFirst, err)
	}
}

func TestCheckBooster(t *testing.T) {
	const nfs = "booster's /init cannot mount a root over NFS: make the image with initrdgen, initramfs-tools or dracut"
	root := initrdtest.Tree(t)
	for _, tt := range []struct {
		name, root string
		yaml       string
		device     string
		state      ModuleState
		want       string // Of the reasons, besides nfs.
	}{
		{name: "a card", yaml: boosterYAML, device: r8169PCI, state: InImage},
		{name: "a card, with the tree", yaml: boosterYAML, root: root, device: r8169PCI, state: InImage},
		{name: "a module is missing", yaml: strings.Replace(boosterYAML, "libphy: true", "libphy: false", 1), device: r8169PCI, state: Incomplete,
			want: "its driver r8169 is without modules that it needs (libphy): add libphy to modules: in /etc/booster.yaml and build the image again"},
		{name: "no alias for a driver of the image", yaml: boosterYAML, root: root, device: "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00", state: NotLoaded,
			want: "e1000 is in the image, but not for this device: the image was built on another machine: build the image with booster build --universal"},
		{name: "another card", yaml: boosterYAML, device: newPCI, want: "the image has no driver for it"},
		{name: "behind a bus that is loaded by name", yaml: boosterYAML, device: virtioNIC, state: InImage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Check(bytes.NewReader(boosterImage(t, tt.yaml)), CheckOptions{Devices: []string{tt.device}, Root: tt.root})
			if err != nil {
				t.Fatal(err)
			}
			if v.Boots || v.Generator != Booster || v.Kernel != initrdtest.Release || len(v.Devices) != 1 {
				t.Fatalf("verdict = %+v", v)
			}
			if d := v.Devices[0]; len(d.Modules) != 0 && d.Modules[0].State != tt.state || len(d.Modules) == 0 && tt.state != "" {
				t.Errorf("modules = %+v, want %s", d.Modules, tt.state)
			}
			var reasons []string
			for _, f := range v.Reasons {
				reasons = append(reasons, f.Text+": "+f.Remedy)
			}
			if !slices.Contains(reasons, nfs) || (tt.want == "") != (len(reasons) == 1) || !strings.Contains(strings.Join(reasons, "\n"), tt.want) {
				t.Errorf("reasons = %q, want %q and %q", reasons, tt.want, nfs)
			}
		})
	}
	t.Run("without the configuration", func(t *testing.T) {
		v, err := Check(bytes.NewReader(boosterImage(t, "")), CheckOptions{Devices: []string{r8169PCI}})
		if err != nil || v.Kernel != "" || v.Boots || !strings.Contains(v.Reasons[0].Text, "has no kernel modules") {
			t.Errorf("verdict = %+v, %v", v, err)
		}
	})
}
