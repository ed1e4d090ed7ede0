package main

import "testing"

func TestParse(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string // The maintainer; "": an error.
	}{
		"default":       {nil, defaultMaintainer},
		"empty":         {[]string{"--maintainer", ""}, defaultMaintainer},
		"somebody":      {[]string{"--maintainer", "Élodie O'Brien (site) <root+deb@nfs1.lab.example.com>"}, "Élodie O'Brien (site) <root+deb@nfs1.lab.example.com>"},
		"no address":    {[]string{"--maintainer", "Ada Miller"}, ""},
		"no name":       {[]string{"--maintainer", "<ada@example.com>"}, ""},
		"no domain":     {[]string{"--maintainer", "Ada <ada@localhost>"}, ""},
		"two":           {[]string{"--maintainer", "Ada <ada@example.com>, Bob <bob@example.com>"}, ""},
		"comma":         {[]string{"--maintainer", "Miller, Ada <ada@example.com>"}, ""},
		"line end":      {[]string{"--maintainer", "Ada\nProvides: x <ada@example.com>"}, ""},
		"a variable":    {[]string{"--maintainer", "$HOME <ada@example.com>"}, ""},
		"text after it": {[]string{"--maintainer", "Ada <ada@example.com> x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			opts, err := parse(append([]string{"--commit-time", "1795711479", "--arch", "amd64,arm64"}, tt.args...))
			if (err == nil) != (tt.want != "") || opts.maintainer != tt.want {
				t.Errorf("parse(%q): maintainer %q, %v, want %q", tt.args, opts.maintainer, err, tt.want)
			}
			if err == nil && (opts.programsFor("amd64") != "bin" || opts.programsFor("arm64") != "bin/arm64") {
				t.Errorf("programs are in %s and %s", opts.programsFor("amd64"), opts.programsFor("arm64"))
			}
		})
	}
}
