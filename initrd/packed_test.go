package initrd

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/columns"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
	"github.com/sidusboot/sidusboot/zstd"
)

// packedModules are the modules in an image that are packed by themselves.
func packedModules(t *testing.T, img []byte) (names []string) {
	t.Helper()
	l, err := List(bytes.NewReader(img))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range l.Files {
		if f.Packed > 0 {
			names = append(names, moduleName(f.Path))
		}
	}
	return names
}

func buildImage(t *testing.T, opts Options) []byte {
	t.Helper()
	if _, err := Build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	img, err := os.ReadFile(opts.Output)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestPackRare packs drivers that few nodes need, but not what every node needs, what is
// needed by what a node needs, and what was asked for by its name.
func TestPackRare(t *testing.T) {
	t.Parallel()
	root := initrdtest.Tree(t)
	for _, test := range []struct {
		profile string
		modules []string
		want    []string
	}{
		{"generic", nil, []string{"e1000", "libphy", "qlge", "r8152", "r8169", "realtek"}},
		{"generic", []string{"r8169"}, []string{"e1000", "qlge", "r8152"}},
		{"virtual", nil, []string{"e1000"}},
	} {
		for _, c := range Compressors() {
			opts := fakeOptions(t, root)
			opts.Profiles, opts.Modules, opts.Compress = []string{test.profile}, test.modules, c
			if diff := cmp.Diff(test.want, packedModules(t, buildImage(t, opts))); diff != "" {
				t.Errorf("%s, %q, %s (-want +got):\n%s", test.profile, test.modules, c, diff)
			}
		}
	}
}

// TestPackedContent reads a packed module as /init does and as initrdgen does: it is the
// tree's.
func TestPackedContent(t *testing.T) {
	t.Parallel()
	opts := fakeOptions(t, initrdtest.Tree(t))
	img := buildImage(t, opts)
	name := strings.TrimPrefix(image.ModulePath(initrdtest.Release, "realtek"), "/")
	want := initrdtest.ModuleFile("kernel/drivers/net/phy/realtek.ko", nil)

	archives := archivesOf(t, img)
	if len(archives) != 2 {
		t.Fatalf("%d archives, want 2", len(archives))
	}
	_, rest, _ := bytes.Cut(archives[1], []byte(name+image.PackedZstd+"\x00"))
	rest = rest[bytes.Index(rest, []byte("\x28\xb5\x2f\xfd")):]
	rest = rest[:bytes.Index(rest, []byte("0707"))]
	got, err := zstd.Decode(bytes.TrimRight(rest, "\x00"), len(want))
	if err != nil {
		got, err = zstd.Decode(rest, len(want))
	}
	arranged := bytes.Clone(got)
	if columns.Join(got); err != nil || !bytes.Equal(got, want) || bytes.Equal(arranged, want) {
		t.Errorf("/init unpacks %d bytes, arranged: %v, %v", len(got), !bytes.Equal(arranged, want), err)
	}

	var b bytes.Buffer
	if err := Cat(&b, bytes.NewReader(img), name); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("cat: %d bytes, %v", b.Len(), err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := Extract(t.Context(), bytes.NewReader(img), dir, name); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("extract: %d bytes, %v", len(got), err)
	}

	// The same module, packed or not, is no difference.
	opts.Modules = []string{"realtek"}
	d, err := Diff(bytes.NewReader(img), bytes.NewReader(buildImage(t, opts)))
	if err != nil || len(d.Changed) != 1 || !strings.HasSuffix(d.Changed[0].Path, ".manifest") || len(d.OnlyFirst)+len(d.OnlySecond) > 0 {
		t.Errorf("diff: %+v, %v", d, err)
	}
	v, err := Check(bytes.NewReader(img), CheckOptions{Devices: []string{"pci:v000010ECd00008168sv00000000sd00000000bc02sc00i00"}})
	if err != nil || !v.Boots {
		t.Errorf("check: %+v, %v", v, err)
	}
}

// TestPackedDamaged damages packed modules.
func TestPackedDamaged(t *testing.T) {
	t.Parallel()
	img := buildImage(t, fakeOptions(t, initrdtest.Tree(t)))
	changed := bytes.Clone(img)
	i := bytes.LastIndex(changed, []byte("realtek.ko.columns.zst"))
	i += bytes.Index(changed[i:], []byte("\x28\xb5\x2f\xfd"))
	changed[i+30] ^= 0xff
	_, err := List(bytes.NewReader(changed))
	var bad *ArchiveError
	if !errors.As(err, &bad) || !strings.HasSuffix(bad.File, "realtek.ko.columns.zst") || !strings.Contains(err.Error(), "the packed module is damaged: build the image or copy it again: ") {
		t.Errorf("damaged: %v", err)
	}
	if _, err := List(bytes.NewReader(img[:i+30])); !errors.As(err, &bad) || !errors.Is(err, errCut) {
		t.Errorf("cut short: %v", err)
	}

	bomb := initrdtest.Pack(t, "x.zst", make([]byte, maxFile+1))
	_, err = List(bytes.NewReader(newc(file("lib/modules/6.1.0-test/bomb.ko.columns.zst", string(bomb)))))
	if err == nil || !strings.Contains(err.Error(), "more than 256 MB") && !strings.Contains(err.Error(), "decompressed size exceeds") {
		t.Errorf("bomb: %v", err)
	}
	// Elsewhere a file is what it is.
	l, err := List(bytes.NewReader(newc(file("lib/modules/6.1.0-test/kernel/bomb.ko.columns.zst", string(bomb)))))
	if err != nil || l.Files[0].Packed != 0 || l.Files[0].Bytes != int64(len(bomb)) {
		t.Errorf("a module of another generator: %+v, %v", l, err)
	}
}

// TestPackedXz leaves the tree's own .ko.xz as they are for a kernel that unpacks them.
func TestPackedXz(t *testing.T) {
	t.Parallel()
	root := initrdtest.Tree(t)
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/own.ko.xz"})
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "updates/dkms/theirs.ko.xz", Imports: []string{"alloc_etherdev_mqs"}, Aliases: []string{"pci:v0000AAAAd*"}})
	config := filepath.Join(root, "boot", "config-"+initrdtest.Release)
	for text, suffix := range map[string]string{
		"CONFIG_MODULES=y\nCONFIG_MODULE_COMPRESS_XZ=y\nCONFIG_MODULE_DECOMPRESS=y\n":                       image.PackedXz,
		"CONFIG_MODULE_COMPRESS_XZ=y\n# CONFIG_MODULE_DECOMPRESS is not set\n":                              image.PackedZstd,
		"CONFIG_MODULE_COMPRESS_ZSTD=y\nCONFIG_MODULE_DECOMPRESS=y\n# CONFIG_MODULE_COMPRESS_XZ is not set": image.PackedZstd,
	} {
		initrdtest.WriteFile(t, config, []byte(text))
		opts := fakeOptions(t, root)
		rep, err := Build(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		have := make(map[string]bool)
		for _, f := range rep.Files {
			have[f.Path] = true
		}
		own := strings.TrimPrefix(image.ModulePath(initrdtest.Release, "own"), "/")
		if !have[own+suffix] || !have[strings.Replace(own, "own", "theirs", 1)+image.PackedZstd] {
			t.Errorf("%q: %+v", text, have)
		}
		img, err := os.ReadFile(opts.Output)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := Cat(&b, bytes.NewReader(img), own); err != nil || !bytes.Equal(b.Bytes(), initrdtest.ModuleFile("kernel/drivers/net/ethernet/own.ko.xz", nil)) {
			t.Errorf("%q: cat: %d bytes, %v", text, b.Len(), err)
		}
	}
}
