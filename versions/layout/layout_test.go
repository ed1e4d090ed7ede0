package layout

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckID(t *testing.T) {
	for _, id := range []string{"1", "2026-11-26", "20260101-120000-2", "a.b_c", strings.Repeat("x", maxID)} {
		t.Run(id, func(t *testing.T) {
			if err := CheckID(id); err != nil {
				t.Errorf("CheckID(%q) = %v", id, err)
			}
		})
	}
	for _, id := range []string{"", ".", "..", ".new-1", "-a", "_a", "a/b", "a b", "a\nb", "a\x00", "ä", strings.Repeat("x", maxID+1)} {
		t.Run(id, func(t *testing.T) {
			var bad *IDError
			if err := CheckID(id); !errors.As(err, &bad) {
				t.Errorf("CheckID(%q) = %v, want an IDError", id, err)
			}
		})
	}
}

func TestParseCurrent(t *testing.T) {
	if id, err := ParseCurrent("versions/a-1"); id != "a-1" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
	for _, target := range []string{
		"", "versions", "versions/", "versions/..", "versions/../staging", "/srv/versions/a", "versions/a/", "versions/a/b",
		"./versions/a", "current", "staging", "versions/a b", "versions/a\n", "../versions/a",
	} {
		t.Run(target, func(t *testing.T) {
			var bad *LinkError
			if id, err := ParseCurrent(target); !errors.As(err, &bad) {
				t.Errorf("ParseCurrent(%q) = %q, %v, want a LinkError", target, id, err)
			}
		})
	}
}
