package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each finding in a tree is one line with its remedy; in a good one there is none.
func TestFindings(t *testing.T) {
	const release = "6.1.0-56-amd64"
	for _, tt := range []struct {
		name  string
		owner int
		files []string
		says  []string
	}{
		{"good", 0, []string{"lib/modules/" + release + "/modules.dep"}, nil},
		{"no modules", 0, []string{"lib/modules/6.12/modules.dep"}, []string{"no /lib/modules/" + release + ": after the switch this kernel can load no module: install the kernel's package"}},
		{"another owner", 65534, []string{"lib/modules/" + release + "/modules.dep"}, []string{"/sbin/init belongs to user 65534: the init program does not belong to root here: the server sends names"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("files of other users are made by root")
			}
			root := t.TempDir()
			for _, name := range append(tt.files, "sbin/init", "etc/shadow") {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, nil, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chown(filepath.Join(root, "sbin/init"), tt.owner, 0); err != nil {
				t.Fatal(err)
			}
			got := Findings(root, "", release)
			if len(got) != len(tt.says) {
				t.Fatalf("Findings = %q, want %d", got, len(tt.says))
			}
			for i, want := range tt.says {
				if !strings.Contains(got[i], want) {
					t.Errorf("Findings = %q, want %q", got, want)
				}
			}
		})
	}
}
