package config

import (
	"os"
	"strings"
	"testing"
)

// row is the word's line in docs/parameters.md.
func (w word) row() string {
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	names := code(w.name)
	for _, alias := range w.aliases {
		names += " " + code(alias)
	}
	help := w.help
	if w.later {
		help = "**not yet** — " + help
	}
	return "| " + strings.Join([]string{names, w.value, w.standard, help, code(w.example)}, " | ") + " |"
}

// The table of the words is what the documentation says, line by line.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../docs/parameters.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range words {
		if !strings.Contains(string(b), "\n"+w.row()+"\n") {
			t.Errorf("docs/parameters.md lacks this line:\n%s", w.row())
		}
	}
}

// An example that is not understood helps nobody.
func TestExamples(t *testing.T) {
	for _, w := range words {
		c, err := Parse(w.example, "")
		if err != nil || len(c.Notes) > 0 {
			t.Errorf("%s: %v, notes %q", w.example, err, c.Notes)
		}
		if !c.Consumed[w.name] {
			t.Errorf("%s does not use %s", w.example, w.name)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range words {
		for _, name := range append([]string{w.name}, w.aliases...) {
			if seen[canonical(name)] {
				t.Errorf("%s is in the table twice", name)
			}
			seen[canonical(name)] = true
		}
	}
}
