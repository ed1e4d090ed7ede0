// Package docs_test holds what the documents say against the source: which
// package may import which, the table of packages, the links.
package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = ".."
	module = "github.com/sidusboot/sidusboot/"
)

// layers are the packages of the repository, from those that import none of the
// others to the commands. A package imports only from the layers before its own
// (docs/architecture.md).
var layers = [][]string{
	{
		"clock",
		"columns",
		"digest",
		"efi",
		"hostname",
		"image",
		"mounts",
		"network/dhcp6",
		"network/ipv4",
		"network/rtnetlink",
		"panics",
		"printable",
		"tree",
		"versions/layout",
		"watchdog",
		"zstd",
	},
	{
		"command",
		"exports",
		"managers",
		"socket",
	},
	{
		"dns",
	},
	// Stages of the boot, and its log.
	{
		"bootlog",
		"chroot",
		"config",
		"initrd/initrdtest",
		"iscsi",
		"kmod",
		"network",
		"nfs",
		"overlay",
		"rwlayer",
	},
	// Texts out of what the stages found.
	{
		"identity",
	},
	// What writes them, and what makes a root of what the stages have mounted.
	{
		"nodefiles",
		"plan",
		"source",
		"union",
	},
	// What stays on a node.
	{
		"sidusnode",
	},
	{
		"resident",
	},
	// What only programs on a server use, and what tests use.
	{
		"stamp",
	},
	{
		"initrd",
		"iscsi/iscsitest",
		"network/networktest",
		"qemu-tests/wire",
		"treecheck",
		"versions",
	},
	// Ways of an image to the nodes.
	{
		"bootfiles",
	},
	{
		"bootdir",
		"uki",
	},
	{
		"qemu-tests",
	},
	// Commands.
	{
		"init",
		"initrdgen",
		"iscsi/iscsitest/login",
		"packaging",
		"qemu-tests/bench",
		"qemu-tests/boot",
		"qemu-tests/demo", "qemu-tests/site",
		"qemu-tests/storm",
		"sidustree",
	},
}

// exceptions are imports within a layer that are meant.
var exceptions = map[string]string{
	"rwlayer": "iscsi", // A LUN is a kind of volume.
}

func TestImports(t *testing.T) {
	layer := map[string]int{}
	for i, packages := range layers {
		for _, p := range packages {
			layer[p] = i
		}
	}
	found := packages(t)
	for p := range layer {
		if _, ok := found[p]; !ok {
			t.Errorf("%s is in a layer and has no source: take it out of layers", p)
		}
	}
	for p, imports := range found {
		own, ok := layer[p]
		if !ok {
			t.Errorf("%s is in no layer: put it into the lowest one that its imports allow", p)
			continue
		}
		for _, i := range imports {
			if layer[i] >= own && exceptions[p] != i {
				t.Errorf("%s imports %s, which is not below it: pass what it needs as a parameter or an interface", p, i)
			}
		}
	}
}

// packages are the repository's packages with what each imports of the others,
// without tests.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || file == filepath.Join(root, "tools") || strings.HasPrefix(d.Name(), ".") && file != root):
			return fs.SkipDir
		case d.IsDir() || path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		p, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		found[p] = slices.Clip(found[p]) // It is there also when it imports none.
		for _, i := range source.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if own, ok := strings.CutPrefix(name, module); ok && !slices.Contains(found[p], own) {
				found[p] = append(found[p], own)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestPackageTable holds the table of docs/architecture.md against the packages.
func TestPackageTable(t *testing.T) {
	b, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "/`")
			table[name] = true
		}
	}
	found := packages(t)
	for p := range found {
		// Commands of the laboratory are named with it.
		if !table[p] && !strings.HasPrefix(p, "qemu-tests/") && p != "iscsi/iscsitest/login" {
			t.Errorf("docs/architecture.md does not say what %s is for", p)
		}
	}
	for p := range table {
		if _, ok := found[p]; !ok && p != "tools" {
			t.Errorf("docs/architecture.md has a package %s that is not there", p)
		}
	}
}
