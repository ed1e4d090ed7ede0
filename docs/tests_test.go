package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A document names a test as `TestName`, or as `package: TestName`; a package in
// backquotes with a colon is that of the tests that follow in the same sentence.
var (
	testName    = regexp.MustCompile("`(?:([a-z-]+)[:.] ?)?((?:Test|Fuzz)[A-Z]\\w*)[`$/]|`([a-z-]+)`:|[;|]|booted|\\. ")
	testDeclare = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// TestTests looks for the tests that the documents name, in the packages that they
// name.
func TestTests(t *testing.T) {
	packages := declaredTests(t)
	for _, document := range documents(t) {
		if filepath.Base(document) == "CHANGELOG.md" {
			continue // It names tests that have since been removed.
		}
		b, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			named := ""
			for _, match := range testName.FindAllStringSubmatch(line, -1) {
				in, name := match[1], match[2]
				if name == "" {
					named = match[3]
					continue
				}
				if in == "" {
					in = named
				}
				switch {
				case packages[name] == nil:
					t.Errorf("%s: there is no %s", document, name)
				case in != "" && !packages[name][in]:
					t.Errorf("%s: %s is not in %s: it is in %v", document, name, in, packages[name])
				}
			}
		}
	}
}

// declaredTests are the tests of the repository: by name, the packages that have one
// of that name.
func declaredTests(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := make(map[string]map[string]bool)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, match := range testDeclare.FindAllStringSubmatch(string(source), -1) {
			if all[match[1]] == nil {
				all[match[1]] = make(map[string]bool)
			}
			all[match[1]][filepath.Base(filepath.Dir(name))] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
