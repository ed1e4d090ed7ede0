package rwlayer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// upperWith makes the directories of a volume, with a file in the upper one that
// was begun on a tree, and reset by a token; without either it has no record.
func upperWith(t *testing.T, tree, reset string) (dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("trusted attributes are root's")
	}
	dir = t.TempDir()
	if err := makeDirs(dir); err != nil {
		t.Fatal(err)
	}
	upper := filepath.Join(dir, Upper)
	if err := writeRecord(upper, record{}, record{tree, reset}); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(upper, "mine"), []byte("thesis"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// names are what lies in a volume.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

var matchTime = time.Date(2026, 11, 26, 8, 15, 0, 0, time.UTC)

func TestMatchLower(t *testing.T) {
	const archived = "upper-a-20261126-081500"
	for _, tt := range []struct {
		name        string
		tree, reset string // of the upper directory
		o           LowerOptions
		want        LowerMatch
		after       record   // of the upper directory
		names       []string // in the volume
		kept        bool     // the file is still in the upper directory
		err         bool
	}{
		{name: "the same tree", tree: "a", o: LowerOptions{Tree: "a", Policy: MismatchReset}, want: LowerMatch{Tree: "a"}, after: record{"a", ""}, kept: true},
		{name: "keep", tree: "a", o: LowerOptions{Tree: "b", Policy: MismatchKeep}, want: LowerMatch{Tree: "a", Mismatch: true}, after: record{"a", ""}, kept: true},
		{name: "archive", tree: "a", o: LowerOptions{Tree: "b", Policy: MismatchArchive}, want: LowerMatch{Tree: "a", Mismatch: true, Archived: archived}, after: record{"b", ""}, names: []string{archived}},
		{name: "reset", tree: "a", o: LowerOptions{Tree: "b", Policy: MismatchReset}, want: LowerMatch{Tree: "a", Mismatch: true, Reset: true}, after: record{"b", ""}},
		{name: "stop", tree: "a", o: LowerOptions{Tree: "b", Policy: MismatchStop}, want: LowerMatch{Tree: "a", Mismatch: true}, after: record{"a", ""}, kept: true, err: true},
		{name: "made by an earlier program", o: LowerOptions{Tree: "b", Policy: MismatchReset}, want: LowerMatch{}, after: record{"b", ""}, kept: true},
		{name: "a tree of which nothing is known", tree: "a", o: LowerOptions{Policy: MismatchReset}, want: LowerMatch{Tree: "a"}, after: record{"a", ""}, kept: true},
		{name: "a new token", tree: "a", reset: "1", o: LowerOptions{Tree: "a", Policy: MismatchKeep, Reset: "2"}, want: LowerMatch{Tree: "a", Reset: true}, after: record{"a", "2"}},
		{name: "the first token", tree: "a", o: LowerOptions{Tree: "a", Policy: MismatchKeep, Reset: "1"}, want: LowerMatch{Tree: "a", Reset: true}, after: record{"a", "1"}},
		{name: "the same token", tree: "a", reset: "1", o: LowerOptions{Tree: "a", Policy: MismatchKeep, Reset: "1"}, want: LowerMatch{Tree: "a"}, after: record{"a", "1"}, kept: true},
		{name: "no token any more", tree: "a", reset: "1", o: LowerOptions{Tree: "a", Policy: MismatchKeep}, want: LowerMatch{Tree: "a"}, after: record{"a", "1"}, kept: true},
		{name: "a token and another tree", tree: "a", o: LowerOptions{Tree: "b", Policy: MismatchArchive, Reset: "1"}, want: LowerMatch{Tree: "a", Mismatch: true, Reset: true}, after: record{"b", "1"}},
		{name: "a token, of an earlier program's", o: LowerOptions{Tree: "b", Policy: MismatchKeep, Reset: "1"}, want: LowerMatch{Reset: true}, after: record{"b", "1"}},
		{name: "an archive keeps the token", tree: "a", reset: "1", o: LowerOptions{Tree: "b", Policy: MismatchArchive, Reset: "1"}, want: LowerMatch{Tree: "a", Mismatch: true, Archived: archived}, after: record{"b", "1"}, names: []string{archived}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := upperWith(t, tt.tree, tt.reset)
			// Somebody's own beside it.
			if err := os.Mkdir(filepath.Join(dir, "upper-mine"), 0o755); err != nil {
				t.Fatal(err)
			}
			tt.o.Now = matchTime
			for range 2 { // The next boot has nothing more to do.
				got, err := MatchLower(dir, tt.o)
				var stop *MismatchError
				if got != tt.want || errors.As(err, &stop) != tt.err || err != nil && !tt.err {
					t.Fatalf("MatchLower = %+v, %v, want %+v", got, err, tt.want)
				}
				if after, err := readRecord(filepath.Join(dir, Upper)); after != tt.after || err != nil {
					t.Errorf("the upper directory says %+v, %v, want %+v", after, err, tt.after)
				}
				want := append(slices.Clone(tt.names), Upper, "upper-mine", Work)
				slices.Sort(want)
				if got := namesIn(t, dir); !slices.Equal(got, want) {
					t.Errorf("in the volume there are %q, want %q", got, want)
				}
				text, err := os.ReadFile(filepath.Join(dir, Upper, "mine"))
				if (err == nil) != tt.kept || tt.kept && string(text) != "thesis" {
					t.Errorf("the file is %q, %v, want it kept: %v", text, err, tt.kept)
				}
				if tt.want.Archived != "" {
					if text, err := os.ReadFile(filepath.Join(dir, tt.want.Archived, "mine")); string(text) != "thesis" {
						t.Errorf("the archived file is %q, %v", text, err)
					}
					if r, err := readRecord(filepath.Join(dir, tt.want.Archived)); r.tree != tt.tree || err != nil {
						t.Errorf("the archived directory says %+v, %v", r, err)
					}
				}
				switch {
				case tt.want.Archived != "" || tt.want.Reset:
					tt.want = LowerMatch{} // An empty one is as new.
					tt.o.Policy = MismatchStop
				case tt.want.Tree == "":
					tt.want = LowerMatch{Tree: tt.o.Tree}
				}
				tt.names = slices.DeleteFunc(namesIn(t, dir), func(s string) bool { return s == Upper || s == "upper-mine" || s == Work })
			}
			if info, err := os.Stat(filepath.Join(dir, Upper)); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

// A crash in the middle loses nothing: at each step the upper directory is the old
// one or a new one that knows its tree, and what the next boot finds it deletes.
func TestMatchLowerCrash(t *testing.T) {
	t.Run("before the exchange", func(t *testing.T) {
		dir := upperWith(t, "a", "")
		if _, err := makeAside(dir, resetPrefix); err != nil {
			t.Fatal(err)
		}
		m, err := MatchLower(dir, LowerOptions{Tree: "a", Policy: MismatchReset, Now: matchTime})
		if want := (LowerMatch{Tree: "a"}); m != want || err != nil {
			t.Errorf("MatchLower = %+v, %v", m, err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, Upper, "mine")); string(text) != "thesis" {
			t.Errorf("the file: %q, %v", text, err)
		}
		if got := namesIn(t, dir); len(got) != 2 {
			t.Errorf("in the volume there are %q", got)
		}
	})
	t.Run("behind the exchange", func(t *testing.T) {
		dir := upperWith(t, "a", "")
		if _, err := exchangeUpper(dir, resetPrefix, record{"b", "1"}); err != nil {
			t.Fatal(err)
		}
		m, err := MatchLower(dir, LowerOptions{Tree: "b", Policy: MismatchStop, Reset: "1", Now: matchTime})
		if m != (LowerMatch{}) || err != nil {
			t.Errorf("MatchLower = %+v, %v", m, err)
		}
		if got := namesIn(t, dir); len(got) != 2 {
			t.Errorf("in the volume there are %q", got)
		}
	})
	t.Run("two at the same second", func(t *testing.T) {
		dir := upperWith(t, "a", "")
		for _, want := range []string{"upper-a-x", "upper-a-x-2"} {
			if name, err := makeAside(dir, "upper-a-x"); name != want || err != nil {
				t.Errorf("makeAside = %q, %v, want %q", name, err, want)
			}
		}
	})
}

// What is no directory of ours is not deleted, and nothing behind a link is.
func TestMatchLowerForeign(t *testing.T) {
	dir, other := upperWith(t, "a", ""), t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "theirs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, resetPrefix+"1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, Upper, "link")); err != nil {
		t.Fatal(err)
	}
	if m, err := MatchLower(dir, LowerOptions{Tree: "b", Policy: MismatchReset, Now: matchTime}); !m.Reset || err != nil {
		t.Errorf("MatchLower = %+v, %v", m, err)
	}
	if got := namesIn(t, other); len(got) != 1 {
		t.Errorf("behind the link there are %q", got)
	}
	if _, err := os.Lstat(filepath.Join(dir, resetPrefix+"1")); err != nil {
		t.Error(err)
	}
}

func TestParseRecord(t *testing.T) {
	want := record{"20261126-101500", "2026-11"}
	if got := parseRecord(want.String()); got != want {
		t.Errorf("%q: %+v", want, got)
	}
	for _, text := range []string{"", "\n\n\n", lowerHead, lowerHead + "\na\nb", "sidusboot upper 2\na\nb\n"} {
		t.Run(text, func(t *testing.T) {
			if got := parseRecord(text); got != (record{}) {
				t.Errorf("parseRecord = %+v", got)
			}
		})
	}
	if got := parseRecord(lowerHead + "\na\x1b[2J\nb\n"); strings.ContainsRune(got.tree, 0x1b) {
		t.Errorf("a control character: %q", got.tree)
	}
}
