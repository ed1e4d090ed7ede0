package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// link finds the target of a Markdown link.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows the links from each document to a file of the repository,
// and to a heading of it.
func TestLinks(t *testing.T) {
	for _, document := range documents(t) {
		b, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			name, heading, _ := strings.Cut(match[1], "#")
			file := document
			if name != "" {
				file = filepath.Join(filepath.Dir(document), name)
			}
			text, err := os.ReadFile(file)
			switch {
			case err != nil:
				t.Errorf("%s: link %s: %v", document, match[1], err)
			case heading != "" && !slices.Contains(anchors(string(text)), heading):
				t.Errorf("%s: link %s: %s has no such heading", document, match[1], file)
			}
		}
	}
}

// documents are the Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	top, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(top, docs...)
}

// anchors are the names that the usual forges give to the headings of a document.
func anchors(text string) (names []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(text) {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			name := dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			names = append(names, strings.ReplaceAll(name, " ", "-"))
		}
	}
	return names
}
