package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A hookTree is a tree with the files of sidusboot-tree and an initrdgen that only writes
// down what it is asked for. Its image is a text: which modules the kernel has.
type hookTree struct {
	t   *testing.T
	dir string
}

// installed are the other files of sidusboot-tree, by what they are called in the repository.
var installed = map[string]string{
	"sidusboot-image":      "usr/sbin/sidusboot-image",
	"60-sidusboot.install": "usr/lib/kernel/install.d/60-sidusboot.install",
	"88-sidusboot.install": "usr/lib/kernel/install.d/88-sidusboot.install",
	"tree.postinst":        "postinst",
	"tree.prerm":           "prerm",
	"tree.postrm":          "postrm",
	"initramfs.postinst":   "initramfs.postinst",
}

// absolute are the paths of a tree that the scripts use; they are those of a directory here.
var absolute = regexp.MustCompile(`/(usr/sbin/sidusboot-image|usr/lib/sidusboot|boot|lib/modules|etc/sidusboot|var/lib/sidusboot-tree)\b`)

const fakeInitrdgen = `#!/bin/sh
set -eu
echo "$*" >>TREE/calls
[ "$1" = build ]
shift
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=$2; shift ;;
	--output) output=$2; shift ;;
	esac
	shift
done
if [ -e TREE/broken ]; then
	echo "initrdgen: --root: the tree is broken: mend it" >&2
	exit 1
fi
echo "image of $kernel:" $(cd "TREE/lib/modules/$kernel" && find . -name '*.ko' | sort) >"$output.new"
mv "$output.new" "$output"
`

func newHookTree(t *testing.T, kernels ...string) *hookTree {
	t.Helper()
	h := &hookTree{t, t.TempDir()}
	files := configFiles(t)
	maps.Copy(files, installed)
	for file, name := range files {
		text, err := os.ReadFile(filepath.Join("files", file))
		if err != nil {
			t.Fatal(err)
		}
		h.write(name, absolute.ReplaceAllString(string(text), h.dir+"$0"), 0o755)
	}
	h.write("usr/bin/initrdgen", strings.ReplaceAll(fakeInitrdgen, "TREE", h.dir), 0o755)
	h.write("usr/lib/sidusboot/init", "init", 0o755)
	h.write("var/lib/sidusboot-tree/.keep", "", 0o644)
	for _, k := range kernels {
		h.kernel(k)
	}
	return h
}

// configFiles are the files that the package has by its description, with the names that
// decide in which order hooks run.
func configFiles(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("sidusboot-tree.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, match := range regexp.MustCompile(`src: packaging/files/(\S+)\s+dst: /(\S+)`).FindAllStringSubmatch(string(text), -1) {
		files[match[1]] = match[2]
	}
	if len(files) != 3 {
		t.Fatalf("sidusboot-tree.yaml has the files %q, want the two hooks and image.conf", files)
	}
	return files
}

func (h *hookTree) kernel(release string) {
	h.write("boot/vmlinuz-"+release, "kernel", 0o644)
	h.write("lib/modules/"+release+"/modules.dep", "", 0o644)
	h.write("lib/modules/"+release+"/nfs.ko", "", 0o644)
}

func (h *hookTree) write(name, text string, mode os.FileMode) {
	h.t.Helper()
	name = filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		h.t.Fatal(err)
	}
}

// read is the content of a file; "": there is none.
func (h *hookTree) read(name string) string {
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// run runs a program of the tree as dpkg does.
func (h *hookTree) run(env []string, name string, args ...string) (string, int) {
	h.t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(h.t.Context(), filepath.Join(h.dir, name), args...)
	cmd.Env = append([]string{"PATH=" + h.dir + "/usr/bin:" + h.dir + "/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// hooks runs the scripts of a directory as run-parts --exit-on-error does, for a kernel's
// maintainer script that dpkg has called with params.
func (h *hookTree) hooks(dir, release, params string, env ...string) (string, int) {
	h.t.Helper()
	names, err := filepath.Glob(filepath.Join(h.dir, dir, "*"))
	if err != nil || len(names) == 0 {
		h.t.Fatalf("%s: %q, %v", dir, names, err)
	}
	slices.Sort(names)
	all := ""
	for _, name := range names {
		out, code := h.run(append(env, "DEB_MAINT_PARAMS="+params), strings.TrimPrefix(name, h.dir), release, h.dir+"/boot/vmlinuz-"+release)
		all += out
		if code != 0 {
			return all, code
		}
	}
	return all, 0
}

const (
	postinst = "etc/kernel/postinst.d"
	postrm   = "etc/kernel/postrm.d"
	one      = "6.1.0-56-amd64"
	two      = "6.1.0-57-amd64"
)

func image(release string) string { return "boot/initrd-sidus-" + release }

// TestKernelHooks calls the hooks for the kernel one, beside the kernel two, whose image is
// never to change.
func TestKernelHooks(t *testing.T) {
	const made, old = "image of " + one + ": ./nfs.ko", "the old image"
	for name, tt := range map[string]struct {
		dir, params string
		env         []string
		prepare     func(h *hookTree)
		old         string // The image before; "": none.
		want        string // And after.
		code        int
		says        []string
		calls       int
	}{
		"installed":                       {postinst, "configure", nil, nil, "", made, 0, []string{"initrd-sidus-" + one + " was written"}, 1},
		"renewed":                         {postinst, "configure 6.1.100-1", nil, nil, old, made, 0, nil, 1},
		"renewed, quoted":                 {postinst, "'configure' '6.1.100-1'", nil, nil, old, made, 0, nil, 1},
		"by hand, without parameters":     {postinst, "", nil, nil, old, made, 0, nil, 1},
		"an upgrade is aborted":           {postinst, "abort-upgrade 6.1.101-1", nil, nil, old, old, 0, nil, 0},
		"an upgrade is aborted, quoted":   {postinst, "'abort-upgrade' '6.1.101-1'", nil, nil, old, old, 0, nil, 0},
		"a removal is aborted":            {postinst, "abort-remove", nil, nil, old, old, 0, nil, 0},
		"a deconfiguration is aborted":    {postinst, "abort-deconfigure in-favour x 1", nil, nil, old, old, 0, nil, 0},
		"INITRD=No":                       {postinst, "configure", []string{"INITRD=No"}, nil, old, old, 0, nil, 0},
		"INITRD=Yes":                      {postinst, "configure", []string{"INITRD=Yes"}, nil, old, made, 0, nil, 1},
		"the package was removed":         {postinst, "configure", nil, func(h *hookTree) { h.remove("usr/sbin/sidusboot-image") }, old, old, 0, nil, 0},
		"the package is not unpacked yet": {postinst, "configure", nil, func(h *hookTree) { h.remove("usr/lib/sidusboot/init") }, old, old, 0, nil, 0},
		"a build fails": {postinst, "configure", nil, func(h *hookTree) { h.write("broken", "", 0o644) }, old, old, 1,
			[]string{"initrdgen: --root: the tree is broken: mend it\n", "no new image for the kernel " + one, "is still that of 20", "Correct the error in the line above, then run in the tree: sidusboot-image " + one}, 1},
		"a first build fails": {postinst, "configure", nil, func(h *hookTree) { h.write("broken", "", 0o644) }, "", "", 1,
			[]string{"there is no ", "initrd-sidus-" + one + ". Correct the error"}, 1},
		"a build fails, INITRD=No": {postinst, "configure", []string{"INITRD=No"}, func(h *hookTree) { h.write("broken", "", 0o644) }, old, old, 0, nil, 0},
		"image.conf": {postinst, "configure", nil, func(h *hookTree) {
			h.write("etc/sidusboot/image.conf", "PROFILE=virtual,iscsi\nOPTIONS='--module xfs --compress gzip'\n", 0o644)
		}, old, made, 0, nil, 1},
		"image.conf is gone": {postinst, "configure", nil, func(h *hookTree) { h.remove("etc/sidusboot/image.conf") }, old, made, 0, nil, 1},
		"a wrong LINK":       {postinst, "configure", nil, func(h *hookTree) { h.write("etc/sidusboot/image.conf", "LINK=perhaps\n", 0o644) }, old, old, 1, []string{"image.conf: LINK=perhaps is wrong: write auto, yes or no"}, 0},
		"a module of DKMS": {postinst, "configure", nil, func(h *hookTree) {
			h.write(postinst+"/dkms", "#!/bin/sh\nmkdir -p "+h.dir+"/lib/modules/$1/updates/dkms && touch "+h.dir+"/lib/modules/$1/updates/dkms/nic.ko\n", 0o755)
		}, old, "image of " + one + ": ./nfs.ko ./updates/dkms/nic.ko", 0, nil, 1},
		"DKMS fails": {postinst, "configure", nil, func(h *hookTree) {
			h.write(postinst+"/dkms", "#!/bin/sh\nexit 11\n", 0o755)
		}, old, old, 11, nil, 0},
		"beside other hooks": {postinst, "configure", nil, func(h *hookTree) {
			for _, name := range []string{"initramfs-tools", "dracut"} {
				h.write(postinst+"/"+name, "#!/bin/sh\necho "+name+" >"+h.dir+"/boot/initrd.img-$1\n", 0o755)
			}
		}, old, made, 0, nil, 1},

		"removed":                        {postrm, "remove", nil, nil, old, "", 0, nil, 0},
		"removed, quoted":                {postrm, "'remove'", nil, nil, old, "", 0, nil, 0},
		"removed, INITRD=No":             {postrm, "remove", []string{"INITRD=No"}, nil, old, "", 0, nil, 0},
		"removed, made by hand":          {postrm, "remove", nil, func(h *hookTree) { h.remove("var/lib/sidusboot-tree/" + one) }, old, old, 0, nil, 0},
		"the old one, in an upgrade":     {postrm, "upgrade 6.1.101-1", nil, nil, old, old, 0, nil, 0},
		"an upgrade failed":              {postrm, "failed-upgrade 6.1.100-1", nil, nil, old, old, 0, nil, 0},
		"the new one, aborted":           {postrm, "abort-upgrade 6.1.100-1", nil, nil, old, old, 0, nil, 0},
		"an installation is aborted":     {postrm, "abort-install", nil, nil, old, old, 0, nil, 0},
		"purged, and removed before":     {postrm, "purge", nil, nil, "", "", 0, nil, 0},
		"removed, and no sidusboot-tree": {postrm, "remove", nil, func(h *hookTree) { h.remove("usr/sbin/sidusboot-image") }, old, old, 0, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHookTree(t, one, two)
			h.write(image(two), "the image of two", 0o644)
			h.write("var/lib/sidusboot-tree/"+two, "", 0o644)
			if tt.old != "" {
				h.write(image(one), tt.old, 0o644)
				h.write("var/lib/sidusboot-tree/"+one, "", 0o644)
			}
			if tt.prepare != nil {
				tt.prepare(h)
			}
			out, code := h.hooks(tt.dir, one, tt.params, tt.env...)
			if code != tt.code {
				t.Errorf("exit status %d, want %d: %s", code, tt.code, out)
			}
			for _, text := range tt.says {
				if !strings.Contains(out, text) {
					t.Errorf("it says %q, want %q", out, text)
				}
			}
			if got := h.read(image(one)); got != tt.want {
				t.Errorf("the image is %q, want %q", got, tt.want)
			}
			if got := h.read(image(two)); got != "the image of two" {
				t.Errorf("the image of the other kernel is %q", got)
			}
			calls := strings.Count(h.read("calls"), "build --root / --kernel "+one+" ")
			if calls != tt.calls {
				t.Errorf("%d builds, want %d: %s", calls, tt.calls, h.read("calls"))
			}
		})
	}
}

func (h *hookTree) remove(name string) {
	if err := os.Remove(filepath.Join(h.dir, name)); err != nil {
		h.t.Fatal(err)
	}
}

// TestImageConf looks at what of image.conf initrdgen is given.
func TestImageConf(t *testing.T) {
	h := newHookTree(t, one)
	h.write("etc/sidusboot/image.conf", "PROFILE=virtual,iscsi\nOPTIONS='--module xfs --compress gzip'\n", 0o644)
	if out, code := h.hooks(postinst, one, "configure"); code != 0 {
		t.Fatal(out)
	}
	want := "build --root / --kernel " + one + " --init " + h.dir + "/usr/lib/sidusboot/init --profile virtual,iscsi --module xfs --compress gzip --output " + h.dir + "/" + image(one)
	if got := h.read("calls"); got != want {
		t.Errorf("initrdgen %s, want %s", got, want)
	}
}

// TestInitrdLink has the name under which Debian looks for an initramfs: nothing, a file of
// another program, or a link of ours.
func TestInitrdLink(t *testing.T) {
	const ours, other = "initrd-sidus-" + one, "theirs"
	name := "boot/initrd.img-" + one
	for _, tt := range []struct {
		link string // LINK in image.conf.
		only bool   // sidusboot-initramfs is installed.
		old  string
		want string
	}{
		{"auto", false, "", ""},
		{"auto", false, other, other},
		{"auto", false, ours, ""}, // sidusboot-initramfs was removed.
		{"auto", true, "", ours},
		{"auto", true, other, other},
		{"auto", true, ours, ours},
		{"yes", false, "", ours},
		{"yes", false, other, ours},
		{"yes", true, other, ours},
		{"no", false, "", ""},
		{"no", true, "", ""},
		{"no", true, ours, ""},
		{"no", true, other, other},
	} {
		only := "alone"
		if tt.only {
			only = "with sidusboot-initramfs"
		}
		t.Run(tt.link+", "+only+", "+tt.old, func(t *testing.T) {
			h := newHookTree(t, one)
			h.write("etc/sidusboot/image.conf", "LINK="+tt.link+"\n", 0o644)
			if tt.only {
				h.write("usr/lib/sidusboot/only-initramfs", "", 0o644)
			}
			switch tt.old {
			case other:
				h.write(name, other, 0o644)
			case ours:
				if err := os.Symlink(ours, filepath.Join(h.dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if out, code := h.hooks(postinst, one, "configure"); code != 0 {
				t.Fatal(out)
			}
			got, err := os.Readlink(filepath.Join(h.dir, name))
			if err != nil {
				got = h.read(name)
			}
			if got != tt.want {
				t.Errorf("initrd.img is %q, want %q", got, tt.want)
			}
			if out, code := h.hooks(postrm, one, "remove"); code != 0 {
				t.Fatal(out)
			}
			if _, err := os.Lstat(filepath.Join(h.dir, name)); (err == nil) != (tt.want == other) {
				t.Errorf("after the removal: %v, want it to stay only where it is another program's", err)
			}
		})
	}
}

// TestKernelInstall runs the plugins of kernel-install(8) by what install.conf names, with
// those of Debian 12 and 13 that take the image of initramfs-tools. What is in the staging
// area goes into the entry of the boot loader, one behind the other.
func TestKernelInstall(t *testing.T) {
	const plugins = "usr/lib/kernel/install.d"
	for name, tt := range map[string]struct {
		verb  string
		env   []string
		made  bool
		entry string   // The names in the staging area.
		given []string // Images that kernel-install was given.
	}{
		"nothing named":     {"add", nil, true, theirs, nil},
		"ours":              {"add", []string{"KERNEL_INSTALL_INITRD_GENERATOR=sidusboot"}, true, "initrd", nil},
		"ours, one given":   {"add", []string{"KERNEL_INSTALL_INITRD_GENERATOR=sidusboot"}, true, "", []string{"/tmp/given"}},
		"dracut":            {"add", []string{"KERNEL_INSTALL_INITRD_GENERATOR=dracut"}, false, theirs, nil},
		"none":              {"add", []string{"KERNEL_INSTALL_INITRD_GENERATOR=none"}, false, theirs, nil},
		"ours, INITRD=No":   {"add", []string{"KERNEL_INSTALL_INITRD_GENERATOR=sidusboot", "INITRD=No"}, false, theirs, nil},
		"removed":           {"remove", nil, false, "", nil},
		"removed, dracut":   {"remove", []string{"KERNEL_INSTALL_INITRD_GENERATOR=dracut"}, false, "", nil},
		"another operation": {"inspect", nil, false, "", nil},
	} {
		for _, debian := range []string{"55-initrd.install", "85-initrd.install"} {
			t.Run(name+", "+debian, func(t *testing.T) {
				h := newHookTree(t, one)
				h.write("boot/"+theirs, "theirs", 0o644)
				h.write("area/vmlinuz", "", 0o644)
				h.write(plugins+"/"+debian, "#!/bin/sh\n[ \"$1\" = add ] && [ $# -lt 5 ] || exit 0\nln -fs "+h.dir+"/boot/initrd.img-$2 \"$KERNEL_INSTALL_STAGING_AREA\"\n", 0o755)
				out := h.plugins(plugins, append(tt.env, "KERNEL_INSTALL_STAGING_AREA="+h.dir+"/area"), append([]string{tt.verb, one, h.dir + "/entry", h.dir + "/boot/vmlinuz-" + one}, tt.given...)...)
				if got := h.read(image(one)) != ""; got != tt.made {
					t.Errorf("image: %v, want %v: %s", got, tt.made, out)
				}
				names, err := filepath.Glob(filepath.Join(h.dir, "area/initrd*"))
				if err != nil {
					t.Fatal(err)
				}
				for i := range names {
					names[i] = filepath.Base(names[i])
				}
				if got := strings.Join(names, " "); got != tt.entry {
					t.Errorf("in the entry: %q, want %q", got, tt.entry)
				}
				if tt.entry == "initrd" && h.read("area/initrd") != h.read(image(one)) {
					t.Errorf("in the entry there is another image: %q", h.read("area/initrd"))
				}
			})
		}
	}
}

const theirs = "initrd.img-" + one

// plugins runs those of kernel-install(8), in the order of their names.
func (h *hookTree) plugins(dir string, env []string, args ...string) (all string) {
	h.t.Helper()
	names, err := filepath.Glob(filepath.Join(h.dir, dir, "*.install"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, name := range names {
		out, code := h.run(env, strings.TrimPrefix(name, h.dir), args...)
		if code != 0 {
			h.t.Errorf("%s: exit status %d: %s", name, code, out)
		}
		all += out
	}
	return all
}

// TestMaintainerScripts calls those of sidusboot-tree as dpkg does.
func TestMaintainerScripts(t *testing.T) {
	h := newHookTree(t, one, two)
	must := func(want int, env []string, name string, args ...string) {
		t.Helper()
		if out, code := h.run(env, name, args...); code != want {
			t.Errorf("%s %q: exit status %d, want %d: %s", name, args, code, want, out)
		}
	}
	there := func(want ...string) {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(h.dir, "boot/initrd*"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range names {
			names[i] = filepath.Base(names[i])
		}
		if !slices.Equal(names, want) {
			t.Errorf("there is %q, want %q", names, want)
		}
	}
	must(0, []string{"INITRD=No"}, "postinst", "configure")
	there()
	must(0, nil, "postinst", "abort-upgrade", "1.0-1")
	there()
	must(0, nil, "postinst", "configure")
	there("initrd-sidus-"+one, "initrd-sidus-"+two)
	h.write("usr/lib/sidusboot/only-initramfs", "", 0o644)
	must(0, nil, "initramfs.postinst", "configure")
	there("initrd-sidus-"+one, "initrd-sidus-"+two, "initrd.img-"+one, "initrd.img-"+two)
	// One kernel cannot get an image: the others do, and it fails.
	h.write("usr/lib/sidusboot/init", "new", 0o755)
	h.write("broken", "", 0o644)
	must(1, nil, "postinst", "triggered", "/usr/lib/sidusboot/init")
	there("initrd-sidus-"+one, "initrd-sidus-"+two, "initrd.img-"+one, "initrd.img-"+two)
	h.remove("broken")
	h.write("boot/initrd-sidus-byhand", "", 0o644)
	must(0, nil, "prerm", "upgrade", "1.1-1")
	must(0, nil, "prerm", "deconfigure", "in-favour", "x", "1")
	there("initrd-sidus-"+one, "initrd-sidus-"+two, "initrd-sidus-byhand", "initrd.img-"+one, "initrd.img-"+two)
	must(0, nil, "prerm", "remove")
	there("initrd-sidus-byhand")
	must(0, nil, "postrm", "remove")
	if h.read("var/lib/sidusboot-tree/.keep") == "" {
		if _, err := os.Stat(filepath.Join(h.dir, "var/lib/sidusboot-tree")); err != nil {
			t.Error(err)
		}
	}
	must(0, nil, "postrm", "purge")
	if _, err := os.Stat(filepath.Join(h.dir, "var/lib/sidusboot-tree")); err == nil {
		t.Error("purged, and var/lib/sidusboot-tree is still there")
	}
}
