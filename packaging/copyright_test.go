package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWriteLicence has the forms in which modules carry the Apache License, which
// Debian wants named and not repeated; other texts stay as they are.
func TestWriteLicence(t *testing.T) {
	const (
		head     = "                                 Apache License\n                           Version 2.0, January 2004\n"
		appendix = "\n   APPENDIX: How to apply the Apache License to your work.\n\n   See the License for the specific language governing permissions and\n   limitations under the License.\n"
	)
	for name, tt := range map[string]struct{ text, want string }{
		"whole":           {head + "terms\n   END OF TERMS AND CONDITIONS\n" + appendix, commonApache},
		"no appendix":     {head + "terms\n   END OF TERMS AND CONDITIONS\n", commonApache},
		"cut off":         {head + "terms\n      of your accepting any such warranty or additional liability.\n", commonApache},
		"between others":  {"BSD\n\n" + head + "terms\n   END OF TERMS AND CONDITIONS\n" + appendix + "\nMIT\n", "BSD\n\n" + commonApache + "\n\nMIT"},
		"another licence": {"Copyright (c) somebody\n\nBSD\n", "Copyright (c) somebody\n\nBSD"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "LICENSE.txt"), []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := writeLicence(&b, "module v1", dir); err != nil {
				t.Fatal(err)
			}
			if want := "\n---- module v1 ----\n\n" + tt.want + "\n"; b.String() != want {
				t.Errorf("got %q, want %q", b.String(), want)
			}
		})
	}
	if err := writeLicence(&strings.Builder{}, "module v1", t.TempDir()); err == nil {
		t.Error("a module without a licence gives no error")
	}
}
