package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSite compares site.md with the scripts of examples/site: every one has to be
// in it, indented, as it is. A script begins with what its header says, which ends at
// the first empty line.
func TestSite(t *testing.T) {
	b, err := os.ReadFile("site.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(b)
	dir := filepath.Join(root, "examples", "site")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 10 {
		t.Errorf("only %d files in %s", len(entries), dir)
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			text := string(b)
			if strings.HasPrefix(text, "#!") {
				_, text, _ = strings.Cut(text, "\n\n")
			}
			if strings.TrimSpace(text) == "" {
				t.Fatal("it has no text")
			}
			if !strings.Contains(document, "\n\n"+indented(text)+"\n") {
				t.Errorf("docs/site.md has not what is in it:\n%s", indented(text))
			}
		})
	}
}

// indented is a text as a block of code in Markdown.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
