package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A document names source as `folder/file.go`, and what is in it as
// `folder/file.go: name` or `folder/file.go: Type.name`.
var place = regexp.MustCompile("`([a-z0-9-]+(?:/[a-z0-9_-]+)*\\.go)(?:: ([A-Za-z0-9_.]+))?`")

// TestPlaces looks for the files that the documents name, and for what they name
// in them.
func TestPlaces(t *testing.T) {
	for _, document := range documents(t) {
		b, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range place.FindAllStringSubmatch(string(b), -1) {
			file, name := match[1], match[2]
			if !strings.Contains(file, "/") {
				continue // A file of the package that the text is about.
			}
			source, err := os.ReadFile(filepath.Join(root, file))
			switch {
			case err != nil:
				t.Errorf("%s names %s: %v", document, file, err)
			case name != "" && !declares(string(source), name):
				t.Errorf("%s: %s declares no %s", document, file, name)
			}
		}
	}
}

// declares tells whether a source declares a function, a method, a type, a
// constant or a variable. Whether it is exported may change.
func declares(source, name string) bool {
	receiver, method, ok := strings.Cut(name, ".")
	if ok {
		return regexp.MustCompile(`(?mi)^func \(\w+ \*?` + receiver + `\) ` + method + `\(`).MatchString(source)
	}
	return regexp.MustCompile(`(?mi)^(func|type|const|var) ` + name + `\b|^\t` + name + `\b.*=`).MatchString(source)
}
