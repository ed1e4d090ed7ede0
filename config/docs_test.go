package config

import (
	"os"
	"strings"
	"testing"
)

// row is the beginning and the end of the parameter's line in docs/parameters.md.
func (p parameter) row() (begin, end string) {
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	names := code(p.name)
	for _, alias := range p.aliases {
		names += " " + code(alias)
	}
	return "| " + names + " | " + p.value + " | ", " | " + code(p.example) + " |"
}

// The table of parameters is the documentation's, line by line; that has in
// addition what holds without each, and what it does.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../docs/parameters.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parameters {
		begin, end := w.row()
		found := false
		for line := range strings.Lines(string(b)) {
			rest, ok := strings.CutPrefix(strings.TrimSpace(line), begin)
			rest, whole := strings.CutSuffix(rest, end)
			_, help, two := strings.Cut(" "+rest, " | ")
			found = found || ok && whole && two && len(help) > 8 && !strings.Contains(help, " | ")
		}
		if !found {
			t.Errorf("docs/parameters.md lacks this line, with what goes without it and what it does:\n%sDEFAULT | HELP%s", begin, end)
		}
	}
	for _, name := range []string{DefaultTarget, DefaultInitiator} {
		if !strings.Contains(string(b), " | "+name+" | ") {
			t.Errorf("docs/parameters.md does not say %s", name)
		}
	}
}

// An example that is not understood helps nobody.
func TestExamples(t *testing.T) {
	for _, w := range parameters {
		c, err := Parse(w.example, "")
		if err != nil || len(c.Notes) > 0 {
			t.Errorf("%s: %v, notes %q", w.example, err, c.Notes)
		}
		if !c.Consumed[w.name] {
			t.Errorf("%s does not use %s", w.example, w.name)
		}
	}
}

// Each example in the table of other people's parameters does what its row says:
// obeyed and silent, silent, or told. And each of foreignTable is in the table.
func TestForeignParameters(t *testing.T) {
	b, err := os.ReadFile("../docs/parameters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "## Parameters of other initramfs\n")
	text, _, _ = strings.Cut(text, "\n## ")
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		columns := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(columns) != 3 || !strings.Contains(columns[0], "`") {
			continue
		}
		for i, example := range strings.Split(columns[0], "`") {
			if i%2 == 0 {
				continue
			}
			name, _, _ := strings.Cut(example, "=")
			for n := range foreignNames() {
				if n == canonical(name) || strings.HasSuffix(n, ".") && strings.HasPrefix(canonical(name), n) {
					seen[n] = true
				}
			}
			c, err := Parse(example, "")
			var kind string
			switch {
			case err != nil || len(c.Notes) > 0:
				kind = "not supported"
			case parameterIndex(canonical(name)) >= 0 || c.Modules[canonical(strings.Split(name, ".")[0])] != "":
				kind = "obeyed"
			default:
				kind = "no effect"
			}
			// What systemd reads has the form of a module's parameter.
			want := strings.TrimSpace(columns[2])
			if !strings.HasPrefix(want, kind) && !(kind == "obeyed" && strings.HasPrefix(want, "no effect") && parameterIndex(canonical(name)) < 0) {
				t.Errorf("%s: %s (%v, %q), the table says %s", example, kind, err, c.Notes, want)
			}
			for _, note := range c.Notes {
				if strings.Contains(note, "10.0.0.1") || strings.Contains(note, "correct-horse") {
					t.Errorf("%s: its value is in %q", example, note)
				}
			}
		}
	}
	for name := range foreignNames() {
		if !seen[name] {
			t.Errorf("docs/parameters.md has no example of %s", name)
		}
	}
}

// foreignNames are those of foreignTable, each of which must be canonical.
func foreignNames() map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(foreignTable)) {
		names, rest, _ := strings.Cut(line, "|")
		for name := range strings.SplitSeq(names, ",") {
			if name == "" || canonical(name) != name || strings.Count(rest, "|") != 1 {
				panic("foreignTable: " + line)
			}
			all[name] = true
		}
	}
	return all
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range parameters {
		for _, name := range append([]string{w.name}, w.aliases...) {
			if seen[canonical(name)] {
				t.Errorf("%s is in the table twice", name)
			}
			seen[canonical(name)] = true
		}
	}
}
