package initrd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

func TestModuleName(t *testing.T) {
	for file, want := range map[string]string{
		"kernel/fs/nfs/nfs.ko":       "nfs",
		"kernel/drivers/a-b.ko.xz":   "a_b",
		"x.ko.zst":                   "x",
		"x.ko.gz":                    "x",
		"x.ko.lzma":                  "",
		"x.txt":                      "",
		".ko":                        "",
		"":                           "",
		"/lib/modules/1/kernel/y.ko": "y",
	} {
		t.Run(file, func(t *testing.T) {
			if got := moduleName(file); got != want {
				t.Errorf("moduleName(%q) = %q, want %q", file, got, want)
			}
		})
	}
}

func TestParseDep(t *testing.T) {
	k := &kernel{release: "6.1"}
	k.parseDep("# comment\n\nkernel/b-1.ko.xz: kernel/a.ko\n/lib/modules/6.1/kernel/a.ko:\nupdates/../../../etc/c.ko:\nkernel/d.ko: b e.ko\n")
	wantFiles := map[string]string{"a": "kernel/a.ko", "b_1": "kernel/b-1.ko.xz", "c": "etc/c.ko", "d": "kernel/d.ko"}
	if diff := cmp.Diff(wantFiles, k.files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"b_1": {"a"}, "d": {"b", "e"}}, k.deps); diff != "" {
		t.Errorf("deps (-want +got):\n%s", diff)
	}
	if len(k.problems) > 0 {
		t.Errorf("problems = %q", k.problems)
	}
	for _, bad := range []string{"a b.ko:\n", "a\u00a0b.ko:\n", "a\x1b[2J.ko:\n", "a,b.ko:\n", "no colon\n", "a.txt:\n", strings.Repeat("a", 56) + ".ko:\n"} {
		t.Run(bad, func(t *testing.T) {
			k := &kernel{release: "6.1", tree: "/srv/tree"}
			k.parseDep(bad + "good.ko:\n")
			if all := strings.Join(k.problems, "\n"); len(k.order) != 1 || len(k.problems) != 1 ||
				!strings.Contains(all, "/srv/tree/lib/modules/6.1/modules.dep: ") || !strings.Contains(all, "run depmod -b /srv/tree 6.1") {
				t.Errorf("parseDep(%q) = %v, problems %q, want one that names the file and depmod", bad, k.order, k.problems)
			}
		})
	}
	lzma := &kernel{release: "6.1"}
	if lzma.parseDep("kernel/a.ko.lzma:\n"); len(lzma.problems) != 1 || !strings.Contains(lzma.problems[0], `"kernel/a.ko.lzma" is compressed as "lzma", which is not supported: supported are .xz, .zst and .gz`) {
		t.Errorf("problems = %q", lzma.problems)
	}
	k.parseDep(strings.Repeat("bad\n", 1000))
	if len(k.problems) != maxProblems+1 {
		t.Errorf("%d problems of 1000 lines", len(k.problems))
	}
}

func TestParseAliases(t *testing.T) {
	got := parseAliases("# x\nalias pci:v* a-b\nalias one\nalias  two words here x\nnoise\nalias fs-nfs nfs\n")
	want := []image.Alias{{Pattern: "pci:v*", Module: "a_b"}, {Pattern: "fs-nfs", Module: "nfs"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parseAliases (-want +got):\n%s", diff)
	}
}

func TestParseSoftdeps(t *testing.T) {
	got := make(map[string]softdep)
	parseSoftdeps(got, "# x\nsoftdep a pre: b-1 c post: d\nsoftdep cifs gcm\nsoftdep\nsoftdep a post: e\nweakdep a f-1 g\nweakdep\nweakdep h pre: post: i\n")
	want := map[string]softdep{"a": {pre: []string{"b_1", "c", "f_1", "g"}, post: []string{"d", "e"}}, "cifs": {}, "h": {pre: []string{"pre:", "post:", "i"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(softdep{})); diff != "" {
		t.Errorf("parseSoftdeps (-want +got):\n%s", diff)
	}
}

func TestModprobeConf(t *testing.T) {
	root := initrdtest.Tree(t)
	initrdtest.WriteFile(t, root+"/etc/modprobe.d/a.conf", []byte("# options e1000 x=1\noptions a-b x=1\noptions a_b y=\"2 3\"\ninstall bad /bin/false\ninstall odd /sbin/modprobe x\nsoftdep e1000 pre: virtio\n"))
	initrdtest.WriteFile(t, root+"/usr/lib/modprobe.d/a.conf", []byte("blacklist masked\n"))
	initrdtest.WriteFile(t, root+"/usr/lib/modprobe.d/b.conf", []byte("blacklist seen\n"))
	initrdtest.WriteFile(t, root+"/etc/modprobe.d/c.txt", []byte("blacklist unread\n"))
	tr, err := openTree(root)
	if err != nil {
		t.Fatal(err)
	}
	k, err := readKernel(tr, initrdtest.Release)
	if err != nil {
		t.Fatal(err)
	}
	wantParams := map[string]string{"a_b": `x=1 y="2 3"`, "e1000": "copybreak=0 debug=1"}
	if diff := cmp.Diff(wantParams, k.conf.params); diff != "" {
		t.Errorf("params (-want +got):\n%s", diff)
	}
	wantBlack := map[string]string{
		"bad": root + "/etc/modprobe.d/a.conf", "r8152": root + "/etc/modprobe.d/site.conf", "seen": root + "/usr/lib/modprobe.d/b.conf",
	}
	if diff := cmp.Diff(wantBlack, k.conf.blacklist); diff != "" {
		t.Errorf("blacklist (-want +got):\n%s", diff)
	}
	if got := k.soft["e1000"].pre; len(got) != 1 || got[0] != "virtio" {
		t.Errorf("softdep of e1000 = %q, want virtio", got)
	}
}

func TestFirmwareNames(t *testing.T) {
	f, err := openModule(initrdtest.ModuleFile("x.ko", []string{"a/b.bin", "c.fw"}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := firmwareNames(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/b.bin", "c.fw"}, got); diff != "" {
		t.Errorf("firmwareNames (-want +got):\n%s", diff)
	}
}

// Whatever depmod or an administrator wrote: no panic, and what comes out can
// be closed over and written down.
func FuzzModulesDep(f *testing.F) {
	f.Add("kernel/b.ko: kernel/a.ko\nkernel/a.ko:\n", "alias pci:v* a\nalias crypto-x b\n", "softdep a pre: crypto-x post: b\n", "options a x=1\nblacklist b\n")
	f.Add("a.ko: a.ko\n", "alias", "softdep a pre:", "install a /bin/true")
	f.Add(":", "alias  ", "softdep a b c", "options \\\n")
	f.Fuzz(func(t *testing.T, dep, alias, soft, conf string) {
		k := &kernel{release: "6.1", soft: make(map[string]softdep)}
		k.parseDep(dep)
		k.aliases = parseAliases(alias)
		k.conf = modprobeConf{params: make(map[string]string), blacklist: make(map[string]string)}
		k.conf.parse("x.conf", conf)
		parseSoftdeps(k.soft, soft)
		parseSoftdeps(k.soft, k.conf.softdeps)
		k.builtin = parseBuiltin(dep)
		k.index()
		c := newCollector(k)
		drives := make(map[string]bool)
		for _, name := range k.order {
			drives[name] = true
			if err := c.add(name); err != nil {
				delete(drives, name)
			}
		}
		m := image.Manifest{Kernel: "6.1", Modules: c.collected(), Aliases: deviceAliases(k, drives)}
		checkOrder(t, &m)
		if _, err := m.Encode(); err != nil {
			t.Errorf("Encode: %v", err)
		}
	})
}
