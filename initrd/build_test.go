package initrd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/columns"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// unpack gives what cpio(1), which knows nothing of us, finds in an image.
func unpack(t *testing.T, file string) (dir string) {
	t.Helper()
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio is not installed")
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, archive := range archivesOf(t, raw) {
		// Only root may make device nodes; the list below still has them.
		cmd := exec.Command(cpio, "-i", "-d", "--quiet", "-m", "-f", "dev/console", "dev/null")
		cmd.Dir, cmd.Stdin = dir, bytes.NewReader(archive)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cpio: %v: %s", err, out)
		}
	}
	// With each packed module the module itself.
	packed, _ := filepath.Glob(filepath.Join(dir, "lib/modules/*/*.ko.*"))
	for _, name := range packed {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		module, err := decompress(name, data)
		if err != nil {
			t.Fatal(err)
		}
		columns.Join(module)
		initrdtest.WriteFile(t, strings.TrimSuffix(strings.TrimSuffix(name, image.PackedZstd), image.PackedXz), module)
	}
	return dir
}

// archivesOf are the archives of an image of ours, unpacked: one that may be compressed,
// and where there are packed modules one that is not.
func archivesOf(t *testing.T, raw []byte) [][]byte {
	t.Helper()
	for i := 4; i <= len(raw); i++ {
		if i < len(raw) && (i%4 != 0 || !bytes.HasPrefix(raw[i:], []byte("070701"))) {
			continue
		}
		for padded := range 4 {
			first, err := uncompressAll(raw[:i-padded])
			if err == nil && bytes.Contains(first, []byte("TRAILER!!!")) {
				return [][]byte{first, raw[i:]}[:1+min(1, len(raw)-i)]
			}
			if raw[i-padded-1] != 0 {
				break
			}
		}
	}
	t.Fatal("no archive")
	return nil
}

func uncompressAll(raw []byte) ([]byte, error) {
	r, _, err := uncompress(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func readManifest(t *testing.T, dir, release string) *image.Manifest {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, image.ManifestPath(release)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := image.ReadManifest(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// buildManifest builds an image, and reads its manifest for the kernel of initrdtest.
func buildManifest(t *testing.T, opts Options) (*Report, *image.Manifest) {
	t.Helper()
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return rep, readManifest(t, unpack(t, opts.Output), initrdtest.Release)
}

func moduleNames(m *image.Manifest) []string {
	var names []string
	for _, mod := range m.Modules {
		names = append(names, mod.Name)
	}
	slices.Sort(names)
	return names
}

func TestBuildGeneric(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	opts.Modules = []string{"ext4"}
	opts.Config = filepath.Join(t.TempDir(), "words")
	initrdtest.WriteFile(t, opts.Config, []byte("sidus.rw=tmpfs\n"))
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Warnings) != 1 || !strings.Contains(rep.Warnings[0], "site.conf keeps r8152") {
		t.Errorf("warnings = %q, want one about r8152", rep.Warnings)
	}
	dir := unpack(t, opts.Output)

	// What is in the archive is what the report says.
	text, err := os.ReadFile(opts.Report)
	if err != nil {
		t.Fatal(err)
	}
	var saved Report
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	var got []PackedFile
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		if packed, _ := filepath.Glob(name + ".*"); len(packed) > 0 && strings.HasSuffix(name, ".ko") {
			return nil // Made by unpack.
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		f := PackedFile{Path: name[len(dir)+1:], Mode: fmt.Sprintf("1%05o", fi.Mode().Perm()), Bytes: fi.Size()}
		if d.IsDir() {
			f.Mode, f.Bytes = fmt.Sprintf("04%04o", fi.Mode().Perm()), 0
		}
		got = append(got, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(slices.Clone(saved.Files), func(f PackedFile) bool {
		return f.Path == "dev/console" || f.Path == "dev/null"
	})
	for i, w := range want {
		if w.Mode[0] == '1' {
			want[i].Mode = "1" + w.Mode[1:]
		}
	}
	byPath := func(a, b PackedFile) int { return strings.Compare(a.Path, b.Path) }
	slices.SortFunc(got, byPath)
	slices.SortFunc(want, byPath)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report and archive differ (-report +archive):\n%s", diff)
	}
	if len(want)+2 != len(saved.Files) {
		t.Errorf("device nodes are not in the report")
	}

	m := readManifest(t, dir, initrdtest.Release)
	wantModules := []string{
		"crc32c_generic", "crc32c_intel", "e1000", "ext4", "grace", "jbd2", "libphy", "lockd", "nfs",
		"nfsv3", "nfsv4", "overlay", "qlge", "r8152", "r8169", "realtek", "sunrpc", "virtio", "virtio_net", "virtio_pci",
	}
	if diff := cmp.Diff(wantModules, moduleNames(m)); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
	checkOrder(t, m)
	if diff := cmp.Diff([]string{"af_packet", "dns_resolver"}, m.Builtin); diff != "" {
		t.Errorf("builtin (-want +got):\n%s", diff)
	}

	// All are the tree's, however they were packed there and are here.
	for _, mod := range initrdtest.Modules() {
		name := moduleName(mod.Path)
		if !slices.Contains(wantModules, name) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, image.ModulePath(initrdtest.Release, name)))
		if err != nil || !bytes.Equal(data, initrdtest.ModuleFile(mod.Path, mod.Firmware, mod.Imports...)) {
			t.Errorf("module %s is not what it was in the tree: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"lib/firmware/rtl_nic/a.fw": "firmware a",
		"lib/firmware/rtl_nic/b.fw": "firmware b",
		"etc/sidusboot.conf":        "sidus.rw=tmpfs\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
	if diff := cmp.Diff([]string{"ext4"}, m.Load); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"rtl_nic/gone.fw"}, rep.Firmware.Missing); diff != "" {
		t.Errorf("missing firmware (-want +got):\n%s", diff)
	}
	if rep.Firmware.Files != 2 || rep.Firmware.Bytes != 20 {
		t.Errorf("firmware = %d files, %d bytes, want 2, 20", rep.Firmware.Files, rep.Firmware.Bytes)
	}
}

func TestBuildVirtual(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	opts.Profiles = []string{"virtual"}
	_, m := buildManifest(t, opts)
	want := []string{"e1000", "grace", "lockd", "nfs", "nfsv3", "nfsv4", "overlay", "sunrpc", "virtio", "virtio_net", "virtio_pci"}
	if diff := cmp.Diff(want, moduleNames(m)); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
	wantAliases := []image.Alias{
		{Pattern: "pci:v00001AF4d*sv*sd*bc*sc*i*", Module: "virtio_pci"},
		{Pattern: "virtio:d00000001v*", Module: "virtio_net"},
		{Pattern: "pci:v00008086d0000100Esv*sd*bc*sc*i*", Module: "e1000"},
		{Pattern: "acpi:FAKE0001:*", Module: "e1000"},
		{Pattern: "acpi:*:FAKE0001:*", Module: "e1000"},
	}
	if diff := cmp.Diff(wantAliases, m.Aliases); diff != "" {
		t.Errorf("aliases (-want +got):\n%s", diff)
	}
}

func TestBuildAllKernels(t *testing.T) {
	root := initrdtest.Tree(t)
	lib := filepath.Join(root, "usr/lib/modules")
	if err := os.CopyFS(filepath.Join(lib, "6.2.0-test"), os.DirFS(filepath.Join(lib, initrdtest.Release))); err != nil {
		t.Fatal(err)
	}
	opts := fakeOptions(t, root)
	opts.Kernel = "all"
	if _, err := Build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	dir := unpack(t, opts.Output)
	for _, release := range []string{initrdtest.Release, "6.2.0-test"} {
		if m := readManifest(t, dir, release); m.Kernel != release || len(m.Modules) == 0 {
			t.Errorf("manifest of %s is for %q with %d modules", release, m.Kernel, len(m.Modules))
		}
	}
}

// A link in lib/modules is a second name, not a second kernel.
func TestKernelLink(t *testing.T) {
	root := initrdtest.Tree(t)
	lib := filepath.Join(root, "usr/lib/modules")
	if err := os.Symlink(initrdtest.Release, filepath.Join(lib, "current")); err != nil {
		t.Fatal(err)
	}
	for _, kernel := range []string{"", "all", "current", initrdtest.Release} {
		t.Run(kernel, func(t *testing.T) {
			opts := fakeOptions(t, root)
			opts.Kernel = kernel
			rep, err := Build(t.Context(), opts)
			if err != nil {
				t.Fatalf("--kernel %q: %v", kernel, err)
			}
			if len(rep.Kernels) != 1 || rep.Kernels[0].Release != initrdtest.Release {
				t.Errorf("--kernel %q: kernels = %v, want %s", kernel, rep.Kernels, initrdtest.Release)
			}
		})
	}
	// One that leads elsewhere is the release's own folder.
	if err := os.Remove(filepath.Join(lib, "current")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(lib, initrdtest.Release), filepath.Join(root, "modules")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/modules", filepath.Join(lib, initrdtest.Release)); err != nil {
		t.Fatal(err)
	}
	opts := fakeOptions(t, root)
	if _, err := Build(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "to use the kernel that it leads to, choose "+initrdtest.Release) {
		t.Errorf("build = %v, want an error that names the link", err)
	}
	opts.Kernel = initrdtest.Release
	if _, err := Build(t.Context(), opts); err != nil {
		t.Error(err)
	}
}

// --module is loaded whether it drives a device or not, and whatever
// modprobe.d says.
func TestBuildModule(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	opts.Modules = []string{"r8152", "macvlan", "af-packet", "macvlan"}
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Warnings) > 0 {
		t.Errorf("warnings = %q", rep.Warnings)
	}
	m := readManifest(t, unpack(t, opts.Output), initrdtest.Release)
	if diff := cmp.Diff([]string{"r8152", "macvlan"}, m.Load); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(m.Aliases, func(a image.Alias) bool { return a.Module == "r8152" }) {
		t.Error("r8152 is asked for and has lost its aliases to a blacklist")
	}
}

// Who built it is in the image and in the report.
func TestBuildVersion(t *testing.T) {
	const want = "initrdgen v1.2-3-gabc-dirty go1.26"
	opts := fakeOptions(t, initrdtest.Tree(t))
	opts.Builder = want
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(unpack(t, opts.Output), image.Release))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Version != want || !strings.Contains(string(text), "SIDUSBOOT_BUILDER=\""+want+"\"\n") {
		t.Errorf("version = %q in the report, in the image %s, want %q", rep.Version, text, want)
	}
}

// One file for two purposes is refused, however it is spelled.
func TestSameFile(t *testing.T) {
	root := initrdtest.Tree(t)
	opts := fakeOptions(t, root)
	dir := filepath.Dir(opts.Output)
	t.Chdir(dir)
	for name, target := range map[string]string{"link.img": "initrd.img", "folder": ".", "initlink": "init"} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	initrdtest.WriteFile(t, "old.img", []byte("old"))
	if err := os.Symlink("old.img", "oldlink.img"); err != nil {
		t.Fatal(err)
	}
	base := filepath.Base(dir)
	for _, tt := range []struct{ output, report string }{
		{"initrd.img", "./initrd.img"},
		{"initrd.img", dir + "/initrd.img"},
		{"initrd.img", "../" + base + "//initrd.img"},
		{"folder/initrd.img", "initrd.img"},
		{"old.img", "oldlink.img"},
		{"link.img", "initrd.img"},
		{"initlink", "report.json"},
		{"initrd.img", "folder/init"},
	} {
		t.Run(tt.output, func(t *testing.T) {
			o := opts
			o.Output, o.Report = tt.output, tt.report
			_, err := Build(t.Context(), o)
			if option := (*OptionError)(nil); !errors.As(err, &option) || !option.Invalid || !strings.Contains(err.Error(), "same file") {
				t.Errorf("Output %s and Report %s: %v, want an error about the same file", tt.output, tt.report, err)
			}
		})
	}
	opts.Output, opts.Report = "initrd.img", "folder/initrd.json"
	if _, err := Build(t.Context(), opts); err != nil {
		t.Error(err)
	}
}

// An image depends on the tree and the options, and on nothing else.
func TestBuildReproducible(t *testing.T) {
	root := initrdtest.Tree(t)
	opts := fakeOptions(t, root)
	for _, comp := range Compressors() {
		opts.Compress = comp
		if _, err := Build(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(opts.Output)
		if err != nil {
			t.Fatal(err)
		}
		// A copy has other times, inode numbers and a folder order of its own.
		other := opts
		other.Root = t.TempDir()
		if out, err := exec.Command("cp", "-r", root+"/.", other.Root).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
		other.Output = filepath.Join(t.TempDir(), "other.img")
		if _, err := Build(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(other.Output)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: image of a copy of the tree differs", comp)
		}
	}
}

// A dry run reports what a build does, and leaves files alone.
func TestDryRun(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	want, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{opts.Output, opts.Report} {
		if err := os.WriteFile(name, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opts.DryRun = true
	got, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	want.Seconds, got.Seconds = 0, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports differ (-build +dry run):\n%s", diff)
	}
	for _, name := range []string{opts.Output, opts.Report} {
		if text, err := os.ReadFile(name); err != nil || string(text) != "old" {
			t.Errorf("%s = %.20q, %v after a dry run", name, text, err)
		}
	}
	checkClean(t, filepath.Dir(opts.Output), "initrd.img", "report.json")
}

func TestBuildInterrupted(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	initrdtest.WriteFile(t, opts.Output, []byte("the old one"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, opts); err == nil {
		t.Error("build of an interrupted context succeeded")
	}
	if got, _ := os.ReadFile(opts.Output); string(got) != "the old one" {
		t.Errorf("old image is %q now", got)
	}
	checkClean(t, filepath.Dir(opts.Output), "initrd.img")
}

// checkClean fails if there is more where the output goes than init and others.
func checkClean(t *testing.T, dir string, others ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "init" && !slices.Contains(others, e.Name()) {
			t.Errorf("a build that failed left %s", e.Name())
		}
	}
}
