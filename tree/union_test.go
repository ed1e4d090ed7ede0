package tree

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEdit(t *testing.T) {
	for name, tt := range map[string]struct {
		lower, upper string // "-": none, "fifo": a FIFO
		want         string
	}{
		"changed":             {"tree", "node", "NODE"},
		"not there":           {"-", "-", "-"},
		"the same":            {"tree", "NODE", "NODE"},
		"a FIFO":              {"tree", "fifo", "TREE"},
		"a FIFO, unchanged":   {"TREE", "fifo", "TREE"},
		"a FIFO over nothing": {"-", "fifo", ""},
	} {
		t.Run(name, func(t *testing.T) {
			lower, upper := t.TempDir(), t.TempDir()
			for dir, text := range map[string]string{lower: tt.lower, upper: tt.upper} {
				switch text {
				case "-":
				case "fifo":
					if err := unix.Mkfifo(dir+"/x", 0o644); err != nil {
						t.Fatal(err)
					}
				default:
					write(t, dir+"/x", text)
				}
			}
			u := Union{Tree: At(upper), Lower: At(lower)}
			if err := u.Edit("/x", strings.ToUpper); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(upper + "/x")
			if tt.want == "-" {
				if err == nil {
					t.Errorf("%q was written", got)
				}
			} else if string(got) != tt.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	var kind *KindError
	if err := (Union{Tree: At(t.TempDir())}).Edit("/", strings.ToUpper); !errors.As(err, &kind) {
		t.Errorf("a directory: %v, want a KindError", err)
	}
}
