package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

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

// TestProgram refuses a program for another architecture than that of the package.
func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	if other == "" {
		t.Skipf("there are no packages for %s", runtime.GOARCH)
	}
	for name, tt := range map[string]struct{ from, arch, err string }{
		"its own":        {self, runtime.GOARCH, ""},
		"another one":    {self, other, "not for " + other},
		"an unknown one": {self, "vax", "not for vax"},
		"no program":     {text, runtime.GOARCH, "run make deb"},
		"nothing":        {text + "x", runtime.GOARCH, "run make deb"},
		"a directory":    {filepath.Dir(text), runtime.GOARCH, "run make deb"},
	} {
		t.Run(name, func(t *testing.T) {
			s := stager{stage: t.TempDir()}
			s.program(tt.from, tt.arch, "usr/bin/x")
			if (s.err == nil) != (tt.err == "") || s.err != nil && !strings.Contains(s.err.Error(), tt.err) {
				t.Errorf("%v, want %q", s.err, tt.err)
			}
			if _, err := os.Stat(filepath.Join(s.stage, "usr/bin/x")); (err == nil) != (tt.err == "") {
				t.Errorf("the staged file: %v", err)
			}
		})
	}
}
