package config

import (
	"slices"
	"testing"
)

func TestSplitArgs(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []arg
	}{
		{"", nil},
		{" \t\n", nil},
		{"quiet ro\n", []arg{{name: "quiet"}, {name: "ro"}}},
		{"a= b", []arg{{"a", "", true}, {name: "b"}}},
		{`k="a b" c`, []arg{{"k", "a b", true}, {name: "c"}}},
		{`"k=a b" c`, []arg{{"k", "a b", true}, {name: "c"}}},
		{`"a b"`, []arg{{name: "a b"}}},
		{`k=a" "b`, []arg{{"k", `a" "b`, true}}},
		{`k="`, []arg{{"k", "", true}}},
		{`"`, []arg{{}}},
		{`k="open to the end`, []arg{{"k", "open to the end", true}}},
		{"k=a=b", []arg{{"k", "a=b", true}}},
		{"=a", []arg{{name: "=a"}}},
		{"a -- sidus.rw=iscsi", []arg{{name: "a"}}},
		{"a --b", []arg{{name: "a"}, {name: "--b"}}},
		{"sidus.rw=LABEL=\u00e0\u00e1", []arg{{"sidus.rw", "LABEL=\u00e0\u00e1", true}}},
	} {
		t.Run(tt.in, func(t *testing.T) {
			if got := splitArgs(tt.in); !slices.Equal(got, tt.want) {
				t.Errorf("splitArgs(%q) = %+v, want %+v", tt.in, got, tt.want)
			}
		})
	}
}

func TestFileArgs(t *testing.T) {
	in := "\ufeff# comment\r\n\r\nip=dhcp\r\n  nfsroot=10.0.0.1:/a#b # c\nsidus.rw=\"LABEL=my disk\"\n#quiet\nlast"
	want := []arg{{"ip", "dhcp", true}, {"nfsroot", "10.0.0.1:/a#b", true}, {"sidus.rw", "LABEL=my disk", true}, {name: "last"}}
	if got := fileArgs(in); !slices.Equal(got, want) {
		t.Errorf("fileArgs = %+v, want %+v", got, want)
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"sidus.rw.siez":      "sidus.rw.size",
		"sidus.onerrror":     "sidus.onerror",
		"sidus.on_error":     "sidus.onerror",
		"sidus.unoin":        "sidus.union",
		"sidus.overlay":      "",
		"sidus.":             "",
		"sidius.rw":          "sidus.rw",
		"sidus.iscsi.target": "sidus.iscsi.target",
		"nfs.something":      "",
	} {
		t.Run(name, func(t *testing.T) {
			if got := nearest(name); got != want {
				t.Errorf("nearest(%q) = %q, want %q", name, got, want)
			}
		})
	}
}
