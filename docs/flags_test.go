package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// commandPackages are those that have the flags of initrdgen and sidustree. What they import
// are libraries, which have options.
var commandPackages = []string{"initrdgen", "sidustree", "command"}

// notOurs are texts of libraries with something that looks like a flag of ours: it belongs
// to the syntax of a file, or to a file that says which command made it.
var notOurs = map[string][]string{
	"bootdir/grub.go": {"--id"},
	"bootdir/ipxe.go": {"--name"},
	"stamp/hook.go":   {"--install-hook"},
}

// TestNoFlagsInLibraries looks for names of flags in the texts of packages that another
// program may call: the command adds them. What /init prints names commands for whoever
// reads its console, and is left out.
func TestNoFlagsInLibraries(t *testing.T) {
	flags := flagNames(t)
	if len(flags) < 30 {
		t.Fatalf("only the flags %q were found", flags)
	}
	pattern := regexp.MustCompile(`(?:^|[^a-z-])(--[a-z][a-z-]*)`)
	imports := packages(t)
	onNodes := closure(imports, "init")
	for _, p := range closure(imports, commandPackages...) {
		if slices.Contains(commandPackages, p) || slices.Contains(onNodes, p) {
			continue
		}
		for _, file := range sources(t, p) {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := filepath.Rel(root, file)
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				for _, match := range pattern.FindAllStringSubmatch(text, -1) {
					if slices.Contains(flags, match[1]) && !slices.Contains(notOurs[name], match[1]) {
						t.Errorf("%s has the flag %s in a text: use initrd.WithRemedy, and let the command name it: %q", name, match[1], text)
					}
				}
				return true
			})
		}
	}
}

// closure is the packages from and all that they import, in turn.
func closure(imports map[string][]string, from ...string) []string {
	all := slices.Clone(from)
	for i := 0; i < len(all); i++ {
		for _, p := range imports[all[i]] {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// flagNames are the flags of the commands, as --name.
func flagNames(t *testing.T) (names []string) {
	t.Helper()
	definition := regexp.MustCompile(`\b\w+\.(?:Bool|Int|String\w*)(?:Var)?\((?:[^",]+, )?"([a-z-]+)"`)
	for _, p := range commandPackages {
		for _, file := range sources(t, p) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range definition.FindAllStringSubmatch(string(text), -1) {
				names = append(names, "--"+match[1])
			}
		}
	}
	return names
}

// sources are the files of a package, without its tests.
func sources(t *testing.T, p string) (files []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(root, p, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if !strings.HasSuffix(file, "_test.go") {
			files = append(files, file)
		}
	}
	return files
}
