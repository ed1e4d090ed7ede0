package bootdir

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/initrd"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

const release = "6.1.0-test" // Of initrdtest.Tree.

// kernelOf makes a file that says it is a kernel of amd64.
func kernelOf(release, rest string) []byte {
	return append(initrdtest.KernelFile(elf.EM_X86_64, release), rest...)
}

// build makes an image.
func build(t *testing.T, opts initrd.Options) string {
	t.Helper()
	dir := t.TempDir()
	opts.Root, opts.Output, opts.Init = initrdtest.Tree(t), filepath.Join(dir, "initrd.img"), filepath.Join(dir, "init")
	initrdtest.WriteFile(t, opts.Init, initrdtest.Program(nil))
	if _, err := initrd.Build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	return opts.Output
}

// goodOptions are those of an install that succeeds.
func goodOptions(t *testing.T) Options {
	t.Helper()
	kernel := filepath.Join(t.TempDir(), "vmlinuz")
	initrdtest.WriteFile(t, kernel, kernelOf(release, "one"))
	return Options{
		Options: bootfiles.Options{Image: plainImage(t), Kernel: kernel, Append: "nfsroot=10.0.0.1:/srv"},
		Dir:     t.TempDir(), Owner: -1,
	}
}

// plainImage is an image that is made once.
func plainImage(t *testing.T) string {
	t.Helper()
	once.Do(func() { plain = contents(t, build(t, initrd.Options{})) })
	name := filepath.Join(t.TempDir(), "initrd.img")
	initrdtest.WriteFile(t, name, []byte(plain))
	return name
}

var (
	once  sync.Once
	plain string
)

func install(t *testing.T, opts Options) *Report {
	t.Helper()
	r, err := Install(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newVersion gives the options another kernel.
func newVersion(t *testing.T, opts *Options, text string) {
	t.Helper()
	opts.Kernel = filepath.Join(t.TempDir(), "vmlinuz")
	initrdtest.WriteFile(t, opts.Kernel, kernelOf(release, text))
}

// snapshot is all that is in a directory: type, mode, time of change and content
// by path.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		content := ""
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			content = fmt.Sprintf(" %d bytes, %x", len(b), sha256.Sum256(b))
		}
		rel, err := filepath.Rel(dir, name)
		all[rel] = info.Mode().String() + " " + info.ModTime().String() + content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func contents(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A second install with the same files and options changes no byte and no time.
func TestIdempotent(t *testing.T) {
	opts := goodOptions(t)
	first := install(t, opts)
	before := snapshot(t, opts.Dir)
	time.Sleep(10 * time.Millisecond)
	r := install(t, opts)
	if diff := cmp.Diff(before, snapshot(t, opts.Dir)); diff != "" {
		t.Errorf("changed (-first +second):\n%s", diff)
	}
	if len(r.Changes) != 0 || r.Version != first.Version {
		t.Errorf("changes %v, version %s after %s", r.Changes, r.Version, first.Version)
	}
	for _, name := range []string{"pxelinux.cfg/default", "grub/grub.cfg", "sidus.ipxe"} {
		t.Run(name, func(t *testing.T) {
			if text := contents(t, filepath.Join(opts.Dir, name)); !strings.Contains(text, "sidus/"+r.Version+"/vmlinuz") || !strings.Contains(text, "sidus.rw=tmpfs") {
				t.Errorf("%s does not name the version:\n%s", name, text)
			}
		})
	}
}

// With sidus.server=boot iPXE and GRUB say where they came from; without it their
// configuration has nothing of it.
func TestServer(t *testing.T) {
	opts := goodOptions(t)
	for _, tt := range []struct {
		append string
		want   map[string][]string
	}{
		{"nfsroot=/srv sidus.server=boot quiet", map[string][]string{
			"sidus.ipxe":           {"\nisset ${cwduri} && set url ${cwduri} || set url ${filename} ||\n", " nfsroot=/srv sidus.server=boot,${url} quiet "},
			"grub/grub.cfg":        {` 'sidus.server=boot,tftp://'"$net_default_server"'/' 'quiet' `},
			"pxelinux.cfg/default": {" nfsroot=/srv sidus.server=boot quiet "},
		}},
		{"nfsroot=/srv sidus.server=10.0.0.1", map[string][]string{
			"sidus.ipxe": {" sidus.server=10.0.0.1 "}, "grub/grub.cfg": {" 'sidus.server=10.0.0.1' "}, "pxelinux.cfg/default": {" sidus.server=10.0.0.1 "},
		}},
		{"nfsroot=10.0.0.1:/srv", map[string][]string{"sidus.ipxe": nil, "grub/grub.cfg": nil, "pxelinux.cfg/default": nil}},
	} {
		t.Run(tt.append, func(t *testing.T) {
			opts.Append = tt.append
			install(t, opts)
			for name, want := range tt.want {
				text := contents(t, filepath.Join(opts.Dir, name))
				for _, part := range want {
					if !strings.Contains(text, part) {
						t.Errorf("%s has no %q:\n%s", name, part, text)
					}
				}
				for _, part := range []string{"${url}", "$net_default_server"} {
					if !strings.Contains(strings.Join(want, ""), part) && strings.Contains(text, part) {
						t.Errorf("%s has %q:\n%s", name, part, text)
					}
				}
			}
		})
	}
}

// A dry run writes nothing, and says what an install writes.
func TestDryRun(t *testing.T) {
	opts := goodOptions(t)
	before := snapshot(t, opts.Dir)
	opts.DryRun = true
	dry := install(t, opts)
	if diff := cmp.Diff(before, snapshot(t, opts.Dir)); diff != "" {
		t.Errorf("a dry run changed:\n%s", diff)
	}
	opts.DryRun = false
	if diff := cmp.Diff(install(t, opts), dry); diff != "" {
		t.Errorf("the reports differ (-real +dry):\n%s", diff)
	}
}

// What others have written stays as it is, around the block and beside the file.
func TestForeignEntries(t *testing.T) {
	opts := goodOptions(t)
	foreign := map[string]string{
		"pxelinux.cfg/default":              "PROMPT 1\r\nDEFAULT memtest\nLABEL memtest\n  KERNEL memtest",
		"pxelinux.cfg/01-52-54-00-00-00-01": "DEFAULT memtest\n",
		"grub/grub.cfg":                     "set default=0\nset timeout=9\nmenuentry \"memtest\" {\n\ttrue\n}\n",
		"grub/grub.cfg-01-52-54-00-00-00-1": "true\n",
		"vmlinuz":                           "of another system",
	}
	for name, text := range foreign {
		t.Run(name, func(t *testing.T) {
			initrdtest.WriteFile(t, filepath.Join(opts.Dir, name), []byte(text))
		})
	}
	if err := os.Chmod(filepath.Join(opts.Dir, "grub/grub.cfg"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		newVersion(t, &opts, text)
		r := install(t, opts)
		for name, old := range foreign {
			now := contents(t, filepath.Join(opts.Dir, name))
			if !strings.HasPrefix(now, old) {
				t.Errorf("%s has lost what was in it:\n%s", name, now)
			}
			ours := name == "pxelinux.cfg/default" || name == "grub/grub.cfg"
			if ours != strings.Contains(now, r.Version) || strings.Count(now, "# BEGIN sidusboot") > 1 {
				t.Errorf("%s:\n%s", name, now)
			}
			if strings.Contains(strings.TrimPrefix(now, old), "DEFAULT") || strings.Contains(strings.TrimPrefix(now, old), "set timeout") {
				t.Errorf("%s: the choice of others is not left alone:\n%s", name, now)
			}
		}
	}
	// What is behind the block stays behind it.
	file := filepath.Join(opts.Dir, "pxelinux.cfg/default")
	initrdtest.WriteFile(t, file, []byte(contents(t, file)+"LABEL last\n  LOCALBOOT 0\n"))
	newVersion(t, &opts, "three")
	install(t, opts)
	if text := contents(t, file); !strings.HasSuffix(text, "# END sidusboot sidus\nLABEL last\n  LOCALBOOT 0\n") {
		t.Errorf("after an entry was added:\n%s", text)
	}
	if info, err := os.Stat(filepath.Join(opts.Dir, "grub/grub.cfg")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("grub.cfg has mode %v, want that of before (%v)", info.Mode(), err)
	}
}

// A second name is a second installation beside the first.
func TestNames(t *testing.T) {
	opts := goodOptions(t)
	install(t, opts)
	opts.Name, opts.Path = "trixie", "/boot/"
	install(t, opts)
	grub := contents(t, filepath.Join(opts.Dir, "grub/grub.cfg"))
	for _, want := range []string{"linux /sidus/", "linux /boot/trixie/", "initrd /boot/trixie/"} {
		if !strings.Contains(grub, want) {
			t.Errorf("no %q in\n%s", want, grub)
		}
	}
	text := contents(t, filepath.Join(opts.Dir, "pxelinux.cfg/default"))
	for _, want := range []string{"LABEL tmpfs\n  LINUX sidus/", "LABEL trixie-tmpfs\n  LINUX trixie/"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Count(text, "DEFAULT") != 1 {
		t.Errorf("the second one has changed the default:\n%s", text)
	}
}

// The versions before are kept, and a rollback goes back and forth between two.
func TestRollback(t *testing.T) {
	opts := goodOptions(t)
	var ids []string
	for _, text := range []string{"a", "b", "c", "d"} {
		newVersion(t, &opts, text)
		ids = append(ids, install(t, opts).Version)
	}
	check := func(what string, r *Report, err error, want ...string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !slices.Equal(r.Versions, want) || r.Version != want[len(want)-1] {
			t.Errorf("%s: versions %v, in use %s, want %v", what, r.Versions, r.Version, want)
		}
		text := contents(t, filepath.Join(opts.Dir, "pxelinux.cfg/default"))
		if !strings.Contains(text, "sidus/"+r.Version+"/") || strings.Count(text, "LINUX") != 1 {
			t.Errorf("%s: want %s in\n%s", what, r.Version, text)
		}
	}
	if _, err := os.Stat(filepath.Join(opts.Dir, "sidus", ids[0])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest of four versions is there (%v), and three are kept", err)
	}
	back := Options{Dir: opts.Dir}
	r, err := Rollback(back, "")
	check("rollback", r, err, ids[1], ids[3], ids[2])
	r, err = Rollback(back, "")
	check("second rollback", r, err, ids[1], ids[2], ids[3])
	r, err = Rollback(back, ids[1])
	check("to a version", r, err, ids[2], ids[3], ids[1])
	if _, err := Rollback(back, "../../etc"); err == nil || !strings.Contains(err.Error(), "choose one of") {
		t.Errorf("rollback to no version: %v", err)
	}
	// A version that was damaged is not gone back to.
	initrdtest.WriteFile(t, filepath.Join(opts.Dir, "sidus", ids[3], "initrd.img"), []byte("cut off"))
	before := snapshot(t, opts.Dir)
	if _, err := Rollback(back, ""); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("rollback to a damaged version: %v", err)
	}
	if diff := cmp.Diff(before, snapshot(t, opts.Dir)); diff != "" {
		t.Errorf("it changed:\n%s", diff)
	}
	// An install puts the files right.
	r = install(t, opts)
	check("install", r, nil, ids[2], ids[1], ids[3])
	if info, err := os.Stat(filepath.Join(opts.Dir, "sidus", ids[3], "initrd.img")); err != nil || info.Size() < 1000 {
		t.Errorf("the image is not put right: %v, %v", info, err)
	}
}

// A version that a node's own file names outlives --keep.
func TestKeepNamed(t *testing.T) {
	opts := goodOptions(t)
	opts.Keep = 2
	first := install(t, opts).Version
	initrdtest.WriteFile(t, filepath.Join(opts.Dir, "pxelinux.cfg/01-52-54-00-00-00-01"), []byte("LABEL x\n LINUX sidus/"+first+"/vmlinuz\n"))
	var r *Report
	for _, text := range []string{"a", "b", "c"} {
		newVersion(t, &opts, text)
		r = install(t, opts)
	}
	if len(r.Versions) != 3 || r.Versions[0] != first || !strings.Contains(strings.Join(r.Warnings, " "), first+" is kept") {
		t.Errorf("versions %v, warnings %q; want %s kept", r.Versions, r.Warnings, first)
	}
}

// The image with secrets is the boot server's user's alone, at every time.
func TestSecrets(t *testing.T) {
	opts := goodOptions(t)
	secrets := filepath.Join(t.TempDir(), "secrets")
	initrdtest.WriteFile(t, secrets, []byte("default user password1234567\n"))
	if err := os.Chmod(secrets, 0o600); err != nil {
		t.Fatal(err)
	}
	opts.Image = build(t, initrd.Options{Secrets: secrets})
	_, err := Install(t.Context(), opts)
	if option := (*initrd.OptionError)(nil); !errors.As(err, &option) || option.Field != "Owner" {
		t.Errorf("without an owner: %v", err)
	}
	opts.Owner = os.Geteuid()
	if opts.Owner == 0 {
		opts.Owner = 12345
	}
	r := install(t, opts)
	file := filepath.Join(opts.Dir, "sidus", r.Version, "initrd.img")
	check := func() {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 || int(info.Sys().(*syscall.Stat_t).Uid) != opts.Owner {
			t.Errorf("%v %+v %v, want mode 0600 and owner %d", info.Mode(), info.Sys(), err, opts.Owner)
		}
	}
	check()
	// What was opened by hand is closed again.
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	install(t, opts)
	check()
	if os.Geteuid() != 0 {
		opts.Owner++
		if _, err := Install(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "only root") {
			t.Errorf("another owner: %v", err)
		}
	}
}

// TestInstallARM64 installs kernels of arm64: of the release that the image is for, as it is
// or packed, of which the second is told.
func TestInstallARM64(t *testing.T) {
	image := initrdtest.KernelFile(elf.EM_AARCH64, release)
	for _, tt := range []struct {
		name    string
		kernel  []byte
		warning string
		err     string
	}{
		{name: "Image", kernel: image},
		{name: "Image.gz", kernel: initrdtest.Pack(t, ".gz", image), warning: "is compressed by gzip"},
		{name: "another release", kernel: initrdtest.KernelFile(elf.EM_AARCH64, "6.1.0-other"), err: "is kernel 6.1.0-other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := goodOptions(t)
			initrdtest.WriteFile(t, opts.Kernel, tt.kernel)
			r, err := Install(t.Context(), opts)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want an error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.Warnings, " "); !strings.Contains(got, tt.warning) || tt.warning == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
			if got := contents(t, filepath.Join(opts.Dir, "sidus", r.Version, "vmlinuz")); got != string(tt.kernel) {
				t.Error("another kernel was installed")
			}
		})
	}
}

func TestOptionErrors(t *testing.T) {
	good := goodOptions(t)
	other := filepath.Join(t.TempDir(), "vmlinuz")
	initrdtest.WriteFile(t, other, kernelOf("6.1.0-other", ""))
	text := filepath.Join(t.TempDir(), "text")
	initrdtest.WriteFile(t, text, []byte("no kernel"))
	for _, tt := range []struct {
		edit  func(*Options)
		field string
		want  string
	}{
		{func(o *Options) { o.Dir = "" }, "Dir", "is missing"},
		{func(o *Options) { o.Dir += "/none" }, "Dir", "there is no directory"},
		{func(o *Options) { o.Dir = text }, "Dir", "is not a directory"},
		{func(o *Options) { o.Image = "" }, "Image", "is missing"},
		{func(o *Options) { o.Image = text }, "Image", text},
		{func(o *Options) { o.Kernel = "" }, "Kernel", "is missing"},
		{func(o *Options) { o.Kernel = text }, "Kernel", "not a kernel image"},
		{func(o *Options) { o.Kernel = other }, "Kernel", "is kernel 6.1.0-other"},
		{func(o *Options) { o.Kernel, o.Root = "", t.TempDir() }, "Root", "has no boot/vmlinuz-" + release},
		{func(o *Options) { o.Name = "../x" }, "Name", "cannot be a name"},
		{func(o *Options) { o.Name = "-x" }, "Name", "cannot be a name"},
		{func(o *Options) { o.Name = "a b" }, "Name", "cannot be a name"},
		{func(o *Options) { o.Name = "grub" }, "Name", "directory that belongs to a loader"},
		{func(o *Options) { o.Path = "/a b" }, "Path", "cannot be a path"},
		{func(o *Options) { o.Keep = 1 }, "Keep", "2 or more"},
		{func(o *Options) { o.Default = "disk" }, "Default", "not a label"},
		{func(o *Options) { o.Default = "iscsi" }, "Image", "with the profiles generic,iscsi"},
		{func(o *Options) { o.Loaders = []string{"lilo"} }, "Loaders", "choose one or more of pxelinux, grub, ipxe"},
		{func(o *Options) { o.Append = "a\nLABEL evil" }, "Append", "a control character"},
		{func(o *Options) { o.Append = "a'; reboot; '" }, "Append", "the character '"},
		{func(o *Options) { o.Append = "x=${net0/ip}" }, "Append", "has ${"},
		{func(o *Options) { o.Append = "x || shell" }, "Append", "has ||"},
		{func(o *Options) { o.Append = "initrd=x" }, "Append", "which the loaders set"},
		{func(o *Options) { o.Append = "x=\x1b[2J" }, "Append", "a control character"},
		{func(o *Options) { o.Append = strings.Repeat("x", 3000) }, "Append", "bytes, more than"},
		{func(o *Options) { o.Append = "sidus.rw=tmpfs" }, "Append", "which the labels set"},
		{func(o *Options) { o.Append = "sidus.mkfs=perhaps" }, "Append", "sidus.mkfs"},
		{func(o *Options) { o.AppendTmpfs = "\"" }, "AppendTmpfs", "the character"},
	} {
		t.Run(tt.field, func(t *testing.T) {
			opts := good
			tt.edit(&opts)
			before := snapshot(t, good.Dir)
			_, err := Install(context.Background(), opts)
			option := (*initrd.OptionError)(nil)
			if !errors.As(err, &option) || option.Field != tt.field || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %s with %q", err, tt.field, tt.want)
			}
			if diff := cmp.Diff(before, snapshot(t, good.Dir)); diff != "" {
				t.Errorf("%v: it changed:\n%s", err, diff)
			}
		})
	}
}

// Without an image it is the one in the tree's boot/ that was made last, of those that have
// their kernel beside them.
func TestImageOfTree(t *testing.T) {
	opts := goodOptions(t)
	image := contents(t, opts.Image)
	opts.Image, opts.Kernel, opts.Root = "", "", t.TempDir()
	_, err := Install(t.Context(), opts)
	var option *initrd.OptionError
	if !errors.As(err, &option) || option.Field != "Image" {
		t.Errorf("without boot/: %v, want an error about Image", err)
	}
	now := time.Now()
	for i, file := range []struct{ name, content string }{
		{"initrd-sidus-5.10.0-1", "old"}, {"vmlinuz-5.10.0-1", "old"},
		{"initrd-sidus-" + release, image},
		{"initrd-sidus-7.0.0-1", "without its kernel"}, {"initrd.img-" + release, "another program's"},
	} {
		name := filepath.Join(opts.Root, "boot", file.name)
		initrdtest.WriteFile(t, name, []byte(file.content))
		if err := os.Chtimes(name, now, now.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	initrdtest.WriteFile(t, filepath.Join(opts.Root, "boot/vmlinuz-"+release), kernelOf(release, "one"))
	r := install(t, opts)
	if r.Kernel != release || contents(t, filepath.Join(opts.Dir, "sidus", r.Version, "initrd.img")) != image {
		t.Errorf("installed %+v, want the image of %s", r, release)
	}
	if err := os.Remove(filepath.Join(opts.Root, "boot/vmlinuz-"+release)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(opts.Root, "boot/vmlinuz-5.10.0-1")); err != nil {
		t.Fatal(err)
	}
	if _, err := Install(t.Context(), opts); !errors.As(err, &option) || option.Field != "Image" {
		t.Errorf("no image with a kernel: %v, want an error about Image", err)
	}
}
