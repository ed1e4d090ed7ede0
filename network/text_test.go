package network

import "testing"

// What a console would obey is in no name and in no path; a path may have bytes
// that are no UTF-8.
func TestText(t *testing.T) {
	for s, want := range map[string][2]string{
		"node7\x00":       {"node7", "node7"},
		"müller.test":     {"müller.test", "müller.test"},
		"/srv/\xe4":       {"/srv/\xe4", ""},
		"a\x1b[2J":        {"", ""},
		"a\u009b2J":       {"", ""},
		"a\u202eb":        {"", ""},
		"a\u2028b":        {"", ""},
		"a\x7f":           {"", ""},
		"a.test b.test":   {"a.test b.test", "a.test b.test"},
		"zero\u200bwidth": {"", ""},
		"tag\U000E0041":   {"", ""},
	} {
		t.Run(s, func(t *testing.T) {
			if got := [2]string{cleanText(s), cleanName(s)}; got != want {
				t.Errorf("%q became %q, want %q", s, got, want)
			}
		})
	}
}
