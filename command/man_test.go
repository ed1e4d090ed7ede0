package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestMan writes the pages of a program with a command that has all that pages show.
func TestMan(t *testing.T) {
	root := &cobra.Command{Use: "program", Short: "Do things", Long: "It does things."}
	sub := &cobra.Command{
		Use: "make FILE", Short: "Make a file",
		Long:    "Make FILE:\n\n  a  one way\n  b  another\n\n.hidden is a name, and C:\\x too.",
		Example: "  program make x",
		Args:    Arguments(1, "FILE"),
		RunE:    func(*cobra.Command, []string) error { return nil },
	}
	sub.Flags().String("kind", "a", "the `KIND` of file")
	sub.Flags().Bool("dry-run", false, "write nothing")
	AddJSON(root)
	root.AddCommand(sub, ManCommand("program"))
	dir := t.TempDir()
	var out, errs bytes.Buffer
	if code := Run(root, []string{"man", dir, "--date", "2026-11-26"}, &out, &errs); code != Success {
		t.Fatal(errs.String())
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Fatalf("pages %q, %v, want program.1 and program-make.1", names, err)
	}
	for name, want := range map[string][]string{
		"program.1": {".TH PROGRAM 1 2026\\-11\\-26", "program \\- do things", "program COMMAND", ".BR program\\-make (1)\nMake a file."},
		"program-make.1": {
			".TH PROGRAM\\-MAKE 1", "program make FILE", ".nf\n  a  one way\n  b  another\n.fi", "\\&.hidden is a name, and C:\\ex too.",
			".TP\n\\-\\-dry\\-run\nwrite nothing\n", "\\-\\-kind KIND\nthe KIND of file (default: a)", "OF ALL COMMANDS\n.TP\n\\-\\-json",
			".SH EXAMPLES\n.nf\n  program make x\n.fi", ".SH SEE ALSO\n.BR program (1)",
		},
	} {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(string(page), text) {
				t.Errorf("%s has no %q:\n%s", name, text, page)
			}
		}
	}
	if code := Run(root, []string{"man", dir, "--date", "today"}, &out, &errs); code != Usage {
		t.Errorf("--date today: exit status %d, want %d", code, Usage)
	}
}
