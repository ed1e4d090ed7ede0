package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const parametersDoc = "../docs/parameters.md"

// names are the parameter's in docs/parameters.md.
func (p parameter) names() string {
	names := code(p.name)
	for _, alias := range p.aliases {
		names += " " + code(alias)
	}
	return names
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// A documented parameter is a row of docs/parameters.md: its names and what the
// columns say.
type documented struct {
	names, value, without, help, example string
}

// documentedParameters are the rows of the tables of parameters.
func documentedParameters(t *testing.T) (rows []documented) {
	t.Helper()
	b, err := os.ReadFile(parametersDoc)
	if err != nil {
		t.Fatal(err)
	}
	inTable := false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "| parameter | value | without it | what it does | example |":
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case inTable && !strings.HasPrefix(line, "|---"):
			// A value may have a | in it, but none with blanks around it.
			columns := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
			if len(columns) != 5 {
				t.Errorf("%s has %d columns, want 5", line, len(columns))
				continue
			}
			for i := range columns {
				columns[i] = strings.TrimSpace(columns[i])
			}
			rows = append(rows, documented{columns[0], columns[1], columns[2], columns[3], columns[4]})
		}
	}
	return rows
}

// The table of parameters and that of the documentation have the same rows; the
// latter also says what holds without each parameter, and what it does.
func TestDocs(t *testing.T) {
	rows := documentedParameters(t)
	for _, p := range parameters {
		t.Run(p.name, func(t *testing.T) {
			i := slices.IndexFunc(rows, func(d documented) bool { return d.names == p.names() })
			if i < 0 {
				t.Fatalf("docs/parameters.md has no row that begins with | %s |", p.names())
			}
			if d := rows[i]; d.value != p.value || d.example != code(p.example) || len(d.help) < 8 {
				t.Errorf("docs/parameters.md: %+v, want the value %q, the example %s and what it does", d, p.value, code(p.example))
			}
		})
	}
	for _, d := range rows {
		if !slices.ContainsFunc(parameters, func(p parameter) bool { return d.names == p.names() }) {
			t.Errorf("docs/parameters.md has %s, which is not a parameter", d.names)
		}
	}
	for name, want := range map[string]string{"sidus.iscsi.target": DefaultTarget, "sidus.iscsi.initiator": DefaultInitiator} {
		t.Run(name, func(t *testing.T) {
			if !slices.ContainsFunc(rows, func(d documented) bool { return strings.HasPrefix(d.names, code(name)) && d.without == want }) {
				t.Errorf("docs/parameters.md does not say that %s is %s by default", name, want)
			}
		})
	}
}

// ownParameter is a parameter of ours in a text. One that ends in a dot stands for
// all that begin so.
var ownParameter = regexp.MustCompile(`\bsidus\.[a-z_.]*`)

// fileNames are files on a boot server, which begin as parameters do.
var fileNames = []string{"sidus.efi", "sidus.ipxe"}

// Whatever the documentation, the changes and the examples name exists.
func TestDocsNameParameters(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../examples/*", "../examples/*/*"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, syscall.EISDIR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for line := range strings.Lines(string(b)) {
			if !strings.Contains(line, "Not there yet") {
				text.WriteString(line)
			}
		}
		for _, name := range ownParameter.FindAllString(text.String(), -1) {
			stem := strings.TrimRight(name, ".")
			known := parameterIndex(canonical(stem)) >= 0
			begins := slices.ContainsFunc(parameters, func(p parameter) bool { return strings.HasPrefix(p.name, stem+".") })
			if !known && !begins && stem != "sidus" && !slices.Contains(fileNames, stem) {
				t.Errorf("%s: %s is not a parameter", file, stem)
			}
		}
	}
}

// An example that is not understood helps nobody.
func TestExamples(t *testing.T) {
	for _, p := range parameters {
		t.Run(p.name, func(t *testing.T) {
			c, err := Parse(p.example, "")
			if err != nil || len(c.Notes) > 0 {
				t.Errorf("%s: %v, notes %q", p.example, err, c.Notes)
			}
			if !c.Consumed[p.name] {
				t.Errorf("%s does not use %s", p.example, p.name)
			}
		})
	}
}

// Each example in the table of other people's parameters does what its row says:
// obeyed and silent, silent, or told. And each of foreignTable is in the table.
func TestForeignParameters(t *testing.T) {
	b, err := os.ReadFile(parametersDoc)
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
	for _, p := range parameters {
		for _, name := range append([]string{p.name}, p.aliases...) {
			if seen[canonical(name)] {
				t.Errorf("%s is in the table twice", name)
			}
			seen[canonical(name)] = true
		}
	}
}
