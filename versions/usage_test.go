package versions

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadUsage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// The base has other names, too: a link, and one below the server's rootdir.
	base, link := filepath.Join(dir, "srv/base"), filepath.Join(dir, "link")
	write("srv/base/versions/a/x", "")
	write("srv/base2/versions/a/x", "")
	if err := errors.Join(os.Symlink("srv/base", link), os.Symlink("srv", filepath.Join(dir, "bind"))); err != nil {
		t.Fatal(err)
	}
	rmtab := write("rmtab", strings.ReplaceAll(`10.0.0.1:/srv/base/versions/a:0x00000002
10.0.0.1:/srv/base:0x00000001
10.0.0.2:/srv/base:0x00000001
10.0.0.2:/srv/base/versions/b:0x00000001
10.0.0.2:/srv/base/versions/b/usr:0x00000001
10.0.0.3:/srv/base/versions/a:0x00000000
fd00::5:/srv/base/versions/a:0x00000001
10.0.0.6:/srv/base:0x00000001
10.0.0.7:/srv/home:0x00000001
10.0.0.8:/srv/base2/versions/a:0x00000001
10.0.0.9:/bind/base/versions/c/usr:0x00000001
garbage
`, ":/", ":"+dir+"/")+"10.0.0.10:/base/versions/c:0x00000001\n"+strings.Repeat("x", 9000)+":::\n:/:\n:\n")
	write("clients/1/info", "clientid: 0x1\naddress: \"10.0.0.2:876\"\nminor version: 2\n")
	write("clients/2/info", "clientid: 0x2\naddress: \"[fd00::9]:700\"\n")
	write("clients/3/info", "clientid: 0x3\naddress: \"10.0.0.99:1\"\n")
	s := UsageSources{Rmtab: rmtab, Clients: filepath.Join(dir, "clients"), Ignore: []string{"10.0.0.99"}}
	want := Usage{
		Clients: map[string][]string{"a": {"10.0.0.1", "fd00::5"}, "b": {"10.0.0.2"}, "c": {"10.0.0.9", "10.0.0.10"}},
		Unknown: []string{"10.0.0.6", "fd00::9"},
	}
	for _, name := range []string{base, link} {
		got, err := ReadUsage(name, s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	// What the kernel's server left, and another one serves now.
	write("threads", "0\n")
	if _, err := ReadUsage(base, s); !errors.Is(err, ErrNoSource) {
		t.Errorf("got %v, want ErrNoSource", err)
	}
	s.Clients = filepath.Join(dir, "nothing")
	if _, err := ReadUsage(base, s); !errors.Is(err, ErrNoSource) {
		t.Errorf("got %v, want ErrNoSource", err)
	}
	s = UsageSources{Rmtab: filepath.Join(dir, "none"), Clients: filepath.Join(dir, "nothing")}
	if _, err := ReadUsage(base, s); !errors.Is(err, ErrNoSource) {
		t.Errorf("got %v, want ErrNoSource", err)
	}
}
