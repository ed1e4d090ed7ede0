package initrd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// parseKernel makes a kernel out of the texts that depmod writes.
func parseKernel(t *testing.T, dep, alias, soft, builtin string) *kernel {
	t.Helper()
	k := &kernel{release: initrdtest.Release, soft: make(map[string]softdep)}
	k.parseDep(dep)
	k.aliases = parseAliases(alias)
	parseSoftdeps(k.soft, soft)
	k.builtin = parseBuiltin(builtin)
	k.index()
	return k
}

// checkOrder fails where a module stands before one that it needs, or needs
// one that is not there.
func checkOrder(t *testing.T, m *image.Manifest) {
	t.Helper()
	var loaded []string
	for _, mod := range m.Modules {
		needs := slices.Concat(mod.Needs, mod.Before)
		for i, need := range needs {
			if !slices.Contains(loaded, need) {
				t.Errorf("%s stands before %s, which it needs", mod.Name, need)
			}
			if slices.Contains(needs[:i], need) {
				t.Errorf("%s needs %s twice", mod.Name, need)
			}
		}
		if slices.Contains(loaded, mod.Name) {
			t.Errorf("%s is listed twice", mod.Name)
		}
		loaded = append(loaded, mod.Name)
	}
	for _, mod := range m.Modules {
		for _, after := range mod.After {
			if !slices.Contains(loaded, after) {
				t.Errorf("%s after %s is not in the image", after, mod.Name)
			}
		}
	}
}

func TestClosure(t *testing.T) {
	const crc = "alias crypto-crc32c crc32c_generic\nalias crypto-crc32c crc32c_intel\n"
	for _, tt := range []struct {
		name                      string
		dep, alias, soft, builtin string
		add                       string
		want                      []image.Module
		warnings                  []string
	}{
		{
			name: "farthest first",
			dep:  "kernel/c.ko: kernel/b.ko kernel/a.ko\nkernel/b.ko: kernel/a.ko\nkernel/a.ko:\n",
			add:  "c",
			want: []image.Module{{Name: "a"}, {Name: "b", Needs: []string{"a"}}, {Name: "c", Needs: []string{"a", "b"}}},
		},
		{
			name: "soft dependencies of what is needed",
			dep:  "kernel/top.ko: kernel/mid.ko\nkernel/mid.ko:\nkernel/pre-x.ko: kernel/deep.ko\nkernel/deep.ko:\nkernel/post.ko:\n",
			soft: "softdep mid pre: pre-x absent post: post\n",
			add:  "top",
			want: []image.Module{
				{Name: "deep"}, {Name: "pre_x", Needs: []string{"deep"}},
				{Name: "mid", Before: []string{"deep", "pre_x"}, After: []string{"post"}},
				{Name: "top", Needs: []string{"mid"}, Before: []string{"deep", "pre_x"}},
				{Name: "post"},
			},
		},
		{
			name:    "soft dependency built in",
			dep:     "kernel/a.ko:\n",
			soft:    "softdep a pre: b\n",
			builtin: "kernel/b.ko\n",
			add:     "a",
			want:    []image.Module{{Name: "a"}},
		},
		{
			name:     "soft dependencies in a loop",
			dep:      "kernel/a.ko:\nkernel/b.ko:\n",
			soft:     "softdep a pre: b\nsoftdep b pre: a\n",
			add:      "a",
			want:     []image.Module{{Name: "b"}, {Name: "a", Before: []string{"b"}}},
			warnings: []string{"module b asks for a before it, but a has to come after it"},
		},
		{
			name:     "soft dependencies in a loop of three, by way of one that is needed",
			dep:      "kernel/a.ko:\nkernel/b.ko:\nkernel/c.ko: kernel/a.ko\n",
			soft:     "softdep a pre: b\nsoftdep b pre: c\n",
			add:      "a",
			want:     []image.Module{{Name: "b"}, {Name: "a", Before: []string{"b"}}},
			warnings: []string{"module b asks for c before it, but c has to come after it"},
		},
		{
			name:     "soft dependencies in a loop of three, behind",
			dep:      "kernel/a.ko:\nkernel/b.ko:\nkernel/c.ko:\n",
			soft:     "softdep a post: b\nsoftdep b post: c\nsoftdep c post: a\n",
			add:      "a",
			want:     []image.Module{{Name: "a", After: []string{"b"}}, {Name: "b", After: []string{"c"}}, {Name: "c", After: []string{}}},
			warnings: []string{"module c asks for a after it, but a has to come before it"},
		},
		{
			name: "soft dependency on itself",
			dep:  "kernel/a.ko:\n",
			soft: "softdep a pre: a post: a\n",
			add:  "a",
			want: []image.Module{{Name: "a"}},
		},
		{
			// What comes after needs what is being collected just then.
			name: "soft dependencies before and after",
			dep:  "kernel/a.ko:\nkernel/b.ko:\nkernel/c.ko: kernel/a.ko\n",
			soft: "softdep a pre: b\nsoftdep b post: c\n",
			add:  "a",
			want: []image.Module{{Name: "b", After: []string{"c"}}, {Name: "a", Before: []string{"b"}}, {Name: "c", Needs: []string{"a"}, Before: []string{"b"}}},
		},
		{
			name:     "soft dependency on one that is broken",
			dep:      "kernel/a.ko:\nkernel/b.ko: kernel/gone.ko\n",
			soft:     "softdep a pre: b post: b\n",
			add:      "a",
			want:     []image.Module{{Name: "a", After: []string{}}},
			warnings: []string{"module a asks for b, which is left out: lib/modules/6.1.0-test/modules.dep: module b cannot be loaded: b needs gone, which is not listed", "module a asks for b"},
		},
		{
			name: "soft dependency by the name of a device",
			dep:  "kernel/a.ko:\nkernel/leds-gpio.ko:\n", alias: "alias platform:leds-gpio leds_gpio\n",
			soft: "softdep a pre: platform:leds-gpio\n",
			add:  "a",
			want: []image.Module{{Name: "leds_gpio"}, {Name: "a", Before: []string{"leds_gpio"}}},
		},
		{
			name: "modules.dep without what is needed indirectly",
			dep:  "kernel/c.ko: kernel/b.ko\nkernel/b.ko: kernel/a.ko\nkernel/a.ko:\n",
			add:  "c",
			want: []image.Module{{Name: "a"}, {Name: "b", Needs: []string{"a"}}, {Name: "c", Needs: []string{"a", "b"}}},
		},
		{
			name: "soft dependency that needs the module itself",
			dep:  "kernel/a.ko:\nkernel/b.ko: kernel/a.ko\n",
			soft: "softdep a pre: b\n",
			add:  "a",
			want: []image.Module{{Name: "a", After: []string{"b"}}, {Name: "b", Needs: []string{"a"}}},
		},
		{
			// Without SSE 4.2 crc32c_intel does not load, so nothing needs it.
			name:  "hidden dependency by alias",
			dep:   "kernel/drivers/scsi/iscsi_tcp.ko:\nkernel/crypto/crc32c_generic.ko:\nkernel/arch/x86/crypto/crc32c-intel.ko:\n",
			alias: crc,
			add:   "iscsi_tcp",
			want: []image.Module{
				{Name: "crc32c_generic"},
				{Name: "iscsi_tcp", Before: []string{"crc32c_generic"}, After: []string{"crc32c_intel"}},
				{Name: "crc32c_intel"},
			},
		},
		{
			name: "hidden dependency that this kernel has no use for",
			dep:  "kernel/drivers/scsi/iscsi_tcp.ko:\n",
			add:  "iscsi_tcp",
			want: []image.Module{{Name: "iscsi_tcp"}},
		},
		{
			name: "hidden dependency to load after",
			dep:  "kernel/drivers/net/mlx4_core.ko:\nkernel/drivers/net/mlx4_en.ko: kernel/drivers/net/mlx4_core.ko\n",
			add:  "mlx4_core",
			want: []image.Module{{Name: "mlx4_core", After: []string{"mlx4_en"}}, {Name: "mlx4_en", Needs: []string{"mlx4_core"}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCollector(parseKernel(t, tt.dep, tt.alias, tt.soft, tt.builtin))
			if err := c.add(tt.add); err != nil {
				t.Fatal(err)
			}
			modules := c.collected()
			if diff := cmp.Diff(tt.want, modules); diff != "" {
				t.Errorf("add(%s) (-want +got):\n%s", tt.add, diff)
			}
			if len(c.warnings) != len(tt.warnings) {
				t.Errorf("warnings = %q, want %d", c.warnings, len(tt.warnings))
			}
			for i, want := range tt.warnings[:min(len(tt.warnings), len(c.warnings))] {
				if !strings.Contains(c.warnings[i], want) {
					t.Errorf("warning %q, want %q in it", c.warnings[i], want)
				}
			}
			checkOrder(t, &image.Manifest{Modules: c.modules})
		})
	}
}

// A loop in modules.dep is an error for those in it and those that need them,
// and for no others.
func TestClosureHardLoop(t *testing.T) {
	c := newCollector(parseKernel(t, "kernel/a.ko: kernel/b.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko: kernel/a.ko\nkernel/d.ko: kernel/b.ko\nkernel/self.ko: kernel/self.ko\nkernel/e.ko:\n", "", "", ""))
	for _, name := range []string{"a", "b", "c", "d", "self"} {
		t.Run(name, func(t *testing.T) {
			err := c.add(name)
			if err == nil || !strings.Contains(err.Error(), "need each other") || !strings.Contains(err.Error(), "depmod") {
				t.Errorf("add(%s) = %v, want an error about a loop", name, err)
			}
		})
	}
	if err := c.add("e"); err != nil || len(c.collected()) != 1 {
		t.Errorf("add(e) = %v, modules %v", err, c.modules)
	}
}

// The work grows as what is written, not faster: a chain of modules twice as
// long has four times as many needs.
func TestClosureWork(t *testing.T) {
	chains := map[string]func(n int) (dep, soft string){
		"modules.dep": func(n int) (string, string) {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, "m%d.ko:", i)
				for j := i - 1; j >= 0; j-- {
					fmt.Fprintf(&b, " m%d.ko", j)
				}
				b.WriteByte('\n')
			}
			return b.String(), ""
		},
		"modules.dep, the farthest first": func(n int) (string, string) {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, "m%d.ko:", i)
				for j := range i {
					fmt.Fprintf(&b, " m%d.ko", j)
				}
				b.WriteByte('\n')
			}
			return b.String(), ""
		},
		"softdep pre": func(n int) (string, string) {
			var dep, soft strings.Builder
			for i := range n {
				fmt.Fprintf(&dep, "m%d.ko:\n", i)
				fmt.Fprintf(&soft, "softdep m%d pre: m%d\n", i+1, i)
			}
			return dep.String(), soft.String()
		},
		"softdep post": func(n int) (string, string) {
			var dep, soft strings.Builder
			for i := range n {
				fmt.Fprintf(&dep, "m%d.ko:\n", i)
				fmt.Fprintf(&soft, "softdep m%d post: m%d\n", i, i+1)
			}
			return dep.String(), soft.String()
		},
	}
	work := func(chain func(int) (string, string), n int) int {
		dep, soft := chain(n)
		k := parseKernel(t, dep, "", soft, "")
		c := newCollector(k)
		for i := range n {
			if err := c.add(fmt.Sprint("m", i)); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(c.collected()); got != n {
			t.Fatalf("%d modules of %d", got, n)
		}
		return k.hard.steps + c.steps
	}
	for name, chain := range chains {
		t.Run(name, func(t *testing.T) {
			short, long := work(chain, 500), work(chain, 1000)
			if long > 5*short {
				t.Errorf("%s: %d steps for 500 modules, %d for 1000", name, short, long)
			}
			if long > 30*1000*1000 {
				t.Errorf("%s: %d steps for 1000 modules", name, long)
			}
		})
	}
}

// Every module asks for a name that all of them have: an end, and few words about
// it.
func TestClosureOfAll(t *testing.T) {
	const n = 2000
	var dep, alias, soft strings.Builder
	for i := range n {
		fmt.Fprintf(&dep, "m%d.ko:\n", i)
		fmt.Fprintf(&alias, "alias x m%d\n", i)
		fmt.Fprintf(&soft, "softdep m%d pre: x\n", i)
	}
	k := parseKernel(t, dep.String(), alias.String(), soft.String(), "")
	c := newCollector(k)
	for i := range n {
		if err := c.add(fmt.Sprint("m", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.warnings) > maxProblems+1 || c.steps > 20_000_000 {
		t.Errorf("%d warnings, %d steps", len(c.warnings), c.steps)
	}
	c = newCollector(k)
	c.limit = 1000
	if err := c.add("m0"); err == nil || !strings.Contains(err.Error(), "ask for too many modules") {
		t.Errorf("add = %v, want an error", err)
	}
}

func TestSetsExist(t *testing.T) {
	for _, p := range profiles {
		for _, s := range p.sets {
			if _, ok := sets[s]; !ok {
				t.Errorf("profile %s has a set %s, which does not exist", p.Name, s)
			}
		}
		for name, s := range sets {
			for _, module := range slices.Concat(s.modules, s.except) {
				if strings.Contains(module, "-") {
					t.Errorf("set %s: %s is not canonical", name, module)
				}
			}
		}
	}
	for _, h := range hiddenDeps {
		for _, name := range slices.Concat([]string{h.module}, h.pre, h.post) {
			if strings.Contains(name, "-") {
				t.Errorf("hidden dependency of %s: %s is not canonical", h.module, name)
			}
		}
	}
}

func choose(t *testing.T, names ...string) []Profile {
	t.Helper()
	chosen, err := chooseProfiles(names)
	if err != nil {
		t.Fatal(err)
	}
	return chosen
}

// Profiles add up, in one order, and one with NICs is always among them.
func TestChooseProfiles(t *testing.T) {
	for _, tt := range []struct{ asked, want string }{
		{"", "generic"},
		{"virtual", "virtual"},
		{"iscsi", "generic,iscsi"},
		{"disk,virtual,disk", "virtual,disk"},
		{"disk,iscsi,virtual,generic", "generic,virtual,iscsi,disk"},
	} {
		t.Run(tt.asked, func(t *testing.T) {
			chosen := choose(t, strings.FieldsFunc(tt.asked, func(r rune) bool { return r == ',' })...)
			if got := joinNames(chosen); got != tt.want {
				t.Errorf("--profile %s is %s, want %s", tt.asked, got, tt.want)
			}
			names := joinSets(chosen)
			if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) || !slices.Contains(names, "nfs") {
				t.Errorf("--profile %s: sets %v", tt.asked, names)
			}
		})
	}
}

// What a message of /init says to add has the module.
func TestProfilesOfModules(t *testing.T) {
	said := 0
	for _, s := range sets {
		for _, module := range s.modules {
			for _, name := range image.ProfilesWith(nil, module) {
				said++
				has := func(set string) bool { return slices.Contains(sets[set].modules, module) }
				if !slices.ContainsFunc(joinSets(choose(t, name)), has) {
					t.Errorf("profile %s has no %s", name, module)
				}
			}
		}
	}
	if said < 3 {
		t.Errorf("%d modules have a profile to be named", said)
	}
}

// A driver of disks is told from one that a NIC needs too.
func TestDisks(t *testing.T) {
	k := parseKernel(t, "kernel/drivers/ata/ahci.ko: kernel/drivers/ata/libahci.ko\nkernel/drivers/ata/libahci.ko:\nkernel/a/virtio_pci.ko:\nkernel/a/virtio_net.ko:\nkernel/a/virtio_blk.ko:\nkernel/a/ext4.ko:\nkernel/a/sd_mod.ko:\n",
		"alias pci:a ahci\nalias pci:v virtio_pci\nalias virtio:1 virtio_net\nalias virtio:2 virtio_blk\nalias scsi:t-0x00* sd_mod\n", "", "")
	for profiles, want := range map[string]string{
		"virtual":       "",
		"virtual iscsi": "",
		"virtual disk":  "sd_mod ahci libahci virtio_blk",
	} {
		t.Run(profiles, func(t *testing.T) {
			m, _, err := chooseModules(nil, k, choose(t, strings.Fields(profiles)...), nil)
			if err != nil {
				t.Fatal(err)
			}
			got, wanted := slices.Sorted(slices.Values(m.Disks)), slices.Sorted(slices.Values(strings.Fields(want)))
			if !slices.Equal(got, wanted) {
				t.Errorf("%s: disks %v, want %v", profiles, got, wanted)
			}
			if !slices.Equal(m.Profiles, strings.Fields(profiles)) {
				t.Errorf("%s: profiles %q", profiles, m.Profiles)
			}
		})
	}
}

// Folders are taken whole, whatever a kernel has in them: host controllers of USB
// that came later, and MDIO and PCS drivers beside the MACs.
func TestFolders(t *testing.T) {
	k := parseKernel(t, strings.Join([]string{
		"kernel/drivers/usb/host/xhci-pci.ko:", "kernel/drivers/usb/host/xhci-pci-renesas.ko: kernel/drivers/usb/host/xhci-pci.ko",
		"kernel/drivers/usb/host/xhci-pci-prom21.ko: kernel/drivers/usb/host/xhci-pci.ko", "kernel/drivers/usb/host/never-heard-of.ko:",
		"kernel/drivers/usb/dwc2/dwc2.ko: kernel/drivers/usb/gadget/udc-core.ko", "kernel/drivers/usb/dwc3/dwc3-pci.ko:", "kernel/drivers/usb/gadget/udc-core.ko:",
		"kernel/drivers/usb/gadget/g_ether.ko:", "kernel/drivers/usb/class/cdc-acm.ko:",
		"kernel/drivers/net/usb/r8152.ko:", "kernel/drivers/net/mdio/mdio-bcm-unimac.ko:", "kernel/drivers/net/pcs/pcs-lynx.ko:",
		"kernel/drivers/net/ethernet/a.ko:", "kernel/drivers/ata/ahci.ko:", "kernel/drivers/scsi/BusLogic.ko:", "kernel/drivers/scsi/lpfc/lpfc.ko:", "kernel/drivers/pci/controller/pci-hyperv.ko:", "kernel/drivers/net/team/team.ko:",
	}, "\n"), "alias pci:p xhci_pci_prom21\nalias pci:r xhci_pci_renesas\nalias of:d dwc2\n", "", "")
	hosts := "dwc2 dwc3_pci never_heard_of xhci_pci xhci_pci_prom21 xhci_pci_renesas"
	for _, tt := range []struct{ profiles, modules, usb, disks string }{
		{"generic", "a dwc2 dwc3_pci mdio_bcm_unimac never_heard_of pci_hyperv pcs_lynx r8152 udc_core xhci_pci xhci_pci_prom21 xhci_pci_renesas", hosts, ""},
		{"virtual", "", "", ""},
		{"virtual disk", "BusLogic ahci dwc2 dwc3_pci never_heard_of udc_core xhci_pci xhci_pci_prom21 xhci_pci_renesas", hosts, "BusLogic ahci " + hosts},
		{"generic disk", "BusLogic a ahci dwc2 dwc3_pci mdio_bcm_unimac never_heard_of pci_hyperv pcs_lynx r8152 udc_core xhci_pci xhci_pci_prom21 xhci_pci_renesas", hosts, "BusLogic ahci"},
	} {
		t.Run(tt.profiles, func(t *testing.T) {
			m, _, err := chooseModules(nil, k, choose(t, strings.Fields(tt.profiles)...), nil)
			if err != nil {
				t.Fatal(err)
			}
			sorted := func(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), " ") }
			if got := strings.Join(moduleNames(m), " "); got != tt.modules {
				t.Errorf("%s: modules %s, want %s", tt.profiles, got, tt.modules)
			}
			if got := sorted(m.USBHosts); got != tt.usb {
				t.Errorf("%s: USB hosts %s, want %s", tt.profiles, got, tt.usb)
			}
			if got := sorted(m.Disks); got != tt.disks {
				t.Errorf("%s: disks %s, want %s", tt.profiles, got, tt.disks)
			}
			if tt.usb != "" && !slices.Contains(m.Aliases, image.Alias{Pattern: "pci:p", Module: "xhci_pci_prom21"}) {
				t.Errorf("%s: no alias of xhci_pci_prom21", tt.profiles)
			}
		})
	}
}

// modprobe.d forbids a driver, --module allows it again.
func TestBlacklist(t *testing.T) {
	k := parseKernel(t, "kernel/drivers/net/ethernet/a.ko:\nkernel/drivers/net/ethernet/b.ko:\nkernel/drivers/net/ethernet/lib.ko:\n",
		"alias pci:a a\nalias pci:b b\nalias net-pf-1 a\n", "", "")
	k.conf = modprobeConf{blacklist: map[string]string{"b": "/tree/etc/modprobe.d/b.conf", "lib": "/tree/etc/modprobe.d/b.conf"}}
	a, b := image.Alias{Pattern: "pci:a", Module: "a"}, image.Alias{Pattern: "pci:b", Module: "b"}
	for _, tt := range []struct {
		extra, load []string
		aliases     []image.Alias
		warning     string
	}{
		{nil, nil, []image.Alias{a}, "/tree/etc/modprobe.d/b.conf keeps b, a driver of profile generic, from being loaded"},
		{[]string{"b", "b"}, []string{"b"}, []image.Alias{a, b}, ""},
	} {
		m, warnings, err := chooseModules(nil, k, choose(t, "generic"), tt.extra)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.aliases, m.Aliases); diff != "" {
			t.Errorf("--module %q: aliases (-want +got):\n%s", tt.extra, diff)
		}
		if diff := cmp.Diff(tt.load, m.Load); diff != "" {
			t.Errorf("--module %q: load (-want +got):\n%s", tt.extra, diff)
		}
		if got := strings.Join(warnings, "\n"); !strings.Contains(got, tt.warning) || (got == "") != (tt.warning == "") {
			t.Errorf("--module %q: warnings = %q, want %q", tt.extra, got, tt.warning)
		}
	}
}
