package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/versions/layout"
)

func TestBase(t *testing.T) {
	for _, test := range []struct {
		name    string
		dirs    []string
		current string // what the link leads to
		wanted  string
		id      string
		says    string // of the error
	}{
		{name: "current", dirs: []string{"versions/a", "versions/b"}, current: "versions/b", id: "b"},
		{name: "wanted", dirs: []string{"versions/a", "versions/b"}, current: "versions/b", wanted: "a", id: "a"},
		{name: "wanted, current is bad", dirs: []string{"versions/a"}, current: "/versions/a", wanted: "a", id: "a"},
		{name: "wanted is missing", dirs: []string{"versions/a", "versions/b", "versions/.new-c"}, current: "versions/b", wanted: "c", says: "there is no version c: there are a, b"},
		{name: "nothing is published", dirs: []string{"versions", "staging"}, says: "no version has been published"},
		{name: "wanted of nothing", dirs: []string{"versions", "staging"}, wanted: "a", says: "there is no version a: there is none"},
		{name: "absolute", dirs: []string{"versions/a"}, current: "/srv/base/versions/a", says: "must be the relative link"},
		{name: "leads out", dirs: []string{"versions/a"}, current: "versions/../../etc", says: "must be the relative link"},
		{name: "dangles", dirs: []string{"versions/a"}, current: "versions/gone", says: "there is no version gone: there are a"},
		{name: "unfinished", dirs: []string{"versions/a", "versions/.new-b"}, current: "versions/.new-b", says: "must be the relative link"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range test.dirs {
				if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if test.current != "" {
				if err := os.Symlink(test.current, filepath.Join(dir, "current")); err != nil {
					t.Fatal(err)
				}
			}
			err := Verify(dir, "")
			var base *layout.BaseError
			if !errors.As(err, &base) || !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("Verify() = %v, want a BaseError", err)
			}
			id, err := base.Pick(test.wanted)
			if id != test.id || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %q, %v, want %q, %q", id, err, test.id, test.says)
			}
		})
	}
	for name, dirs := range map[string][]string{"an empty directory": {}, "a directory versions by chance": {"versions", "etc"}} {
		dir := t.TempDir()
		for _, sub := range dirs {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		var base *layout.BaseError
		if err := Verify(dir, ""); err == nil || errors.As(err, &base) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
