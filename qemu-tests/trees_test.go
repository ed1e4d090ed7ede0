//go:build qemu

package qemutests

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// manyKernels is a tree with three kernels: Debian's usual one with plain modules, that
// for clouds with modules packed by gzip, that for real time by zstd; and with
// microcode. depmod of Debian knows no gzip, so its list is edited.
var manyKernels = SmallTree{
	Suite:    "bookworm",
	Packages: []string{"linux-image-cloud-amd64", "linux-image-rt-amd64", "intel-microcode", "amd64-microcode", "zstd"},
	Script: `
pack() {
	dir=$(echo /lib/modules/*-$1-amd64)
	find $dir -name '*.ko' -print0 | xargs -0 -n 50 $3
	sed -i "s/\.ko\>/.ko$2/g" $dir/modules.dep
}
pack cloud .gz gzip
pack rt .zst 'zstd -q --rm'`,
}

// TestTrees makes an image of each tree, as an ordinary user, twice the same, and boots
// each kernel in it. It is generic: for nodes of any kind.
func TestTrees(t *testing.T) {
	t.Parallel()
	Require(t)
	Soak(t)
	for _, test := range []struct {
		name string
		tree interface {
			Tree(context.Context) (string, error)
		}
		// Of the modules, without the one for all.
		suffixes []string
		merged   bool
		kernels  int
	}{
		{"bullseye", SmallTree{Suite: "bullseye"}, []string{".ko"}, true, 1},
		{"bullseyeUnmerged", SmallTree{Suite: "bullseye", Unmerged: true}, []string{".ko"}, false, 1},
		{"bookworm", Variant{Suite: "bookworm"}, []string{".ko"}, true, 1},
		{"trixie", Variant{Suite: "trixie"}, []string{".ko.xz"}, true, 1},
		{"backports", newestKernel, []string{".ko.xz"}, true, 1},
		{"kernels", manyKernels, []string{".ko", ".ko.gz", ".ko.zst"}, true, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tree, err := test.tree.Tree(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if fi, err := os.Lstat(filepath.Join(tree, "lib")); err != nil || fi.IsDir() == test.merged {
				t.Errorf("lib of the tree is %v, %v; merged is to be %v", fi.Mode(), err, test.merged)
			}
			g := newGeneratorOf(t, tree)
			if got := g.suffixes(); !slices.Equal(got, test.suffixes) {
				t.Errorf("modules end in %q, want %q", got, test.suffixes)
			}
			image := g.build("first", ordinaryUser, "--kernel=all", "--profile=generic")
			if again := g.build("again", nil, "--kernel=all", "--profile=generic"); !bytes.Equal(image, again) {
				t.Error("the image made again, by root, is another one")
			}
			kernels, err := filepath.Glob(filepath.Join(tree, "boot/vmlinuz-*"))
			if err != nil || len(kernels) != test.kernels {
				t.Fatalf("kernels %q, %v, want %d", kernels, err, test.kernels)
			}
			s := siteWithoutImage(t, tree, LabOptions{})
			s.image = filepath.Join(g.dir, "first")
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(DHCPOptions{})
			for _, kernel := range kernels {
				release := strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")
				t.Run(release, func(t *testing.T) {
					s := s.with(t)
					node := s.boot(s.root("vers=3 ")+probeParams, GuestOptions{Kernel: kernel})
					defer node.Kill()
					r := s.report(node)
					if r.Kernel != release || r.Attempts != 1 || r.Network.Driver != "virtio_net" {
						t.Errorf("kernel %s, driver %s, attempt %d, want %s, virtio_net in the first", r.Kernel, r.Network.Driver, r.Attempts, release)
					}
					s.same(node, []answer{
						{"cat /usr/share/sidusboot-test/lower", "from the shared tree"},
						{"touch /etc/x && ls /etc/x", "/etc/x"},
					})
				})
			}
		})
	}
}

// suffixes are how the names of the tree's modules end, by kernel.
func (g *generator) suffixes() []string {
	out := g.shell(`cd "$1"/lib/modules; for k in *; do find $k/kernel/fs/nfs -name 'nfs.ko*'; done`, g.tree)
	var ends []string
	for file := range strings.FieldsSeq(out) {
		ends = append(ends, strings.TrimPrefix(filepath.Base(file), "nfs"))
	}
	slices.Sort(ends)
	return ends
}
