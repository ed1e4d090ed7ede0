//go:build qemu

package qemutests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sidusboot/sidusboot/columns"
	"github.com/sidusboot/sidusboot/initrd"
)

// A generator runs this repository's initrdgen on a real tree, into a folder
// that everybody may write to.
type generator struct {
	t         *testing.T
	dir, tree string
	bin       string
}

// newGenerator copies the programs to where everybody can run them.
func newGenerator(t *testing.T, suite string) *generator {
	t.Helper()
	Require(t)
	tree, err := Tree(t.Context(), suite)
	if err != nil {
		t.Fatal(err)
	}
	return newGeneratorOf(t, tree)
}

// newGeneratorOf is newGenerator for a tree.
func newGeneratorOf(t *testing.T, tree string) *generator {
	t.Helper()
	bin, err := binDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sidusboot-image-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	g := &generator{t: t, dir: dir, tree: tree, bin: filepath.Join(dir, "bin")}
	g.shell(`mkdir -m 755 "$1"; cp "$2/initrdgen" "$2/init" "$1"; chmod 755 "$1"/*`, g.bin, bin)
	return g
}

// shell runs a script in the folder.
func (g *generator) shell(script string, args ...string) string {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), "sh", append([]string{"-ec", script, "sh"}, args...)...)
	cmd.Dir = g.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// build makes an image and returns its content. prepare changes how initrdgen
// is run.
func (g *generator) build(name string, prepare func(*exec.Cmd), args ...string) []byte {
	g.t.Helper()
	output := filepath.Join(g.dir, name)
	argv := append([]string{"build", "--root", g.tree, "--output", output, "--profile=virtual"}, args...)
	cmd := exec.CommandContext(g.t.Context(), filepath.Join(g.bin, "initrdgen"), argv...)
	cmd.Dir = g.dir
	if prepare != nil {
		prepare(cmd)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Fatalf("%s: initrdgen: %v: %s", name, err, out)
	}
	b, err := os.ReadFile(output)
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// ordinaryUser runs a command as nobody, with another umask, time zone and
// language, one processor, and no home.
func ordinaryUser(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}}
	cmd.Args = append([]string{"sh", "-c", `umask 077; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TZ=Asia/Kathmandu", "LC_ALL=C", "HOME=/nonexistent", "GOMAXPROCS=1"}
}

// TestImageIsReproducible makes the image of a real tree again and again: it is
// the same file, whoever makes it.
func TestImageIsReproducible(t *testing.T) {
	t.Parallel()
	Require(t)
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			g := newGenerator(t, suite)
			first := g.build("first", nil)
			if again := g.build("again", nil); !bytes.Equal(first, again) {
				t.Error("the image made again is another one")
			}
			if by := g.build("by-nobody", ordinaryUser); !bytes.Equal(first, by) {
				t.Error("the image made by an ordinary user is another one")
			}
			if got := g.shell("stat -c '%U %a' by-nobody"); !strings.HasPrefix(got, "nobody ") {
				t.Errorf("the file made by nobody: %q", got)
			}
			// The check can fail: another profile is another file.
			if other := g.build("other", nil, "--module=dummy"); bytes.Equal(first, other) {
				t.Error("the image with one more module is the same file")
			}
		})
	}
}

// TestImageIsWhatTheReportSays unpacks the image of a real tree with zstd(1) and
// cpio(1) and compares what is there with the report, and every module with the
// tree's own.
func TestImageIsWhatTheReportSays(t *testing.T) {
	t.Parallel()
	Require(t)
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			g := newGenerator(t, suite)
			image := g.build("image", nil, "--profile=generic", "--report="+filepath.Join(g.dir, "report.json"))
			var report struct {
				Packed   int64 `json:"packed_bytes"`
				Unpacked int64 `json:"unpacked_bytes"`
				Kernels  []struct {
					Release string
					Modules int
					Bytes   int64
				}
				Files []struct {
					Path, Mode string
					Bytes      int64
				}
			}
			b, err := os.ReadFile(filepath.Join(g.dir, "report.json"))
			if err == nil {
				err = json.Unmarshal(b, &report)
			}
			if err != nil {
				t.Fatal(err)
			}
			if report.Packed != int64(len(image)) {
				t.Errorf("the report says %d bytes packed, the file has %d", report.Packed, len(image))
			}
			listing, err := initrd.List(bytes.NewReader(image))
			if err != nil || len(listing.Archives) != 2 {
				t.Fatalf("%+v, %v, want two archives", listing.Archives, err)
			}
			// zstd(1) complains of the zeros between them.
			g.shell(`head -c "$1" image | zstd -q -dc >first.cpio || true; tail -c +"$(($1 + 1))" image >second.cpio
				mkdir unpacked; cd unpacked; cpio --quiet -idm <../first.cpio; cpio --quiet -idm <../second.cpio`, fmt.Sprint(listing.Archives[1].Offset))
			if got := g.shell("cat first.cpio second.cpio | wc -c | tr -d '\\n'"); got != fmt.Sprint(report.Unpacked) {
				t.Errorf("the report says %d bytes unpacked, the archive has %s", report.Unpacked, got)
			}
			var want []string
			for _, f := range report.Files {
				want = append(want, fmt.Sprintf("%s %s %d", f.Path, f.Mode, f.Bytes))
			}
			slices.Sort(want)
			got := strings.Split(strings.TrimSpace(g.shell(`cd unpacked
				find . -mindepth 1 -exec stat -c '%n %f %F %s' {} + | while read -r name mode rest; do
					case $rest in regular*) size=${rest##* } ;; *) size=0 ;; esac
					printf '%s %06o %s\n' "${name#./}" 0x"$mode" "$size"
				done`)), "\n")
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("unpacked:\n%s\nthe report says:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if dev := g.shell("cd unpacked/dev; stat -c '%n %F %t %T %a %u' *"); dev !=
				"console character special file 5 1 600 0\nnull character special file 1 3 666 0\n" {
				t.Errorf("device nodes: %s", dev)
			}
			g.shell("cd unpacked/lib/modules/*/; for f in *.zst; do [ ! -e $f ] || zstd -q -d --rm $f; done; for f in *.xz; do [ ! -e $f ] || xz -d $f; done")
			joinColumns(t, filepath.Join(g.dir, "unpacked"))
			checkModules(t, g, report.Kernels[0].Release, report.Kernels[0].Modules, report.Kernels[0].Bytes)
		})
	}
}

// joinColumns makes modules of what zstd(1) has unpacked.
func joinColumns(t *testing.T, unpacked string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(unpacked, "lib/modules/*/*.ko.columns"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		module, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		columns.Join(module)
		if err := os.WriteFile(strings.TrimSuffix(file, ".columns"), module, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// checkModules compares the modules of an unpacked image with the tree's.
func checkModules(t *testing.T, g *generator, release string, count int, size int64) {
	t.Helper()
	modules, err := filepath.Glob(filepath.Join(g.dir, "unpacked/lib/modules", release, "*.ko"))
	if err != nil || len(modules) != count || count == 0 {
		t.Errorf("%d modules, %v; the report says %d", len(modules), err, count)
	}
	tree := map[string]string{}
	for path := range strings.FieldsSeq(g.shell(`find "$1" -name '*.ko*'`, filepath.Join(g.tree, "lib/modules", release, "kernel"))) {
		name, _, _ := strings.Cut(filepath.Base(path), ".ko")
		tree[strings.ReplaceAll(name, "-", "_")] = path
	}
	var sum int64
	for _, module := range modules {
		packed, err := os.ReadFile(module)
		if err != nil {
			t.Fatal(err)
		}
		sum += int64(len(packed))
		name := strings.TrimSuffix(filepath.Base(module), ".ko")
		if original := plain(t.Context(), t, tree[name]); !bytes.Equal(packed, original) {
			t.Errorf("module %s is not the tree's %s", name, tree[name])
		}
	}
	if sum != size {
		t.Errorf("the modules have %d bytes, the report says %d", sum, size)
	}
}

// plain reads a module that may be compressed by xz(1).
func plain(ctx context.Context, t *testing.T, path string) []byte {
	t.Helper()
	program := "cat"
	if strings.HasSuffix(path, ".xz") {
		program = "xzcat"
	}
	out, err := exec.CommandContext(ctx, program, path).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", program, path, err)
	}
	return out
}
