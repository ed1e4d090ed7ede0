package command

import "testing"

// Names of files are no commands to a terminal.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain, with é and %": "plain, with é and %",
		"a\x1b[2J\nb\r\u009b": `a\u001b[2J\nb\u000d\u009b`,
		"a\u202eb":            `a\u202eb`,
		"\xff":                `\xff`,
	} {
		t.Run(text, func(t *testing.T) {
			if got := Printable(text); got != want {
				t.Errorf("Printable(%q) = %q, want %q", text, got, want)
			}
		})
	}
}
