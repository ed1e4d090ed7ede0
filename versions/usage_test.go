package versions

import (
	"errors"
	"os"
	"path/filepath"
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
	rmtab := write("rmtab", `10.0.0.1:/srv/base/versions/a:0x00000002
10.0.0.2:/srv/base/versions/b:0x00000001
10.0.0.2:/srv/base/versions/b/usr:0x00000001
10.0.0.3:/srv/base/versions/a:0x00000000
fd00::5:/srv/base/versions/a:0x00000001
10.0.0.6:/srv/base:0x00000001
10.0.0.7:/srv/home:0x00000001
10.0.0.8:/srv/base2/versions/a:0x00000001
garbage
`)
	write("clients/1/info", "clientid: 0x1\naddress: \"10.0.0.2:876\"\nminor version: 2\n")
	write("clients/2/info", "clientid: 0x2\naddress: \"[fd00::9]:700\"\n")
	write("clients/3/info", "clientid: 0x3\naddress: \"10.0.0.99:1\"\n")
	s := UsageSources{Rmtab: rmtab, Clients: filepath.Join(dir, "clients"), Ignore: []string{"10.0.0.99"}}
	got, err := ReadUsage("/srv/base", s)
	if err != nil {
		t.Fatal(err)
	}
	want := Usage{
		Clients: map[string][]string{"a": {"10.0.0.1", "fd00::5"}, "b": {"10.0.0.2"}},
		Unknown: []string{"10.0.0.6", "fd00::9"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s = UsageSources{Rmtab: filepath.Join(dir, "none"), Clients: filepath.Join(dir, "nothing")}
	if _, err := ReadUsage("/srv/base", s); !errors.Is(err, ErrNoSource) {
		t.Errorf("got %v, want ErrNoSource", err)
	}
}
