package versions

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	f := newBase(t)
	status := func(text string) {
		f.sh("mkdir -p staging/var/lib/dpkg; cat >staging/var/lib/dpkg/status <<'END'\n" + text + "\nEND")
	}
	status(`Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-9

Package: gone
Status: install ok installed
Version: 1

Package: left
Status: deinstall ok config-files
Version: 3`)
	f.publish("a")
	status(`Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-10

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-9

Package: new
Status: hold ok installed
Version: 2:1`)
	f.sh(`echo other >staging/etc/file; chmod 600 staging/etc/same; rm staging/etc/loop; ln -s x staging/etc/loop
rm staging/etc/fifo; touch staging/usr/bin/added; mkdir -p staging/lib/modules/6.12; touch staging/lib/modules/6.12/modules.dep
touch -h -d 2001-01-01 staging/etc/out`)
	f.publish("b")
	got, err := f.Diff(t.Context(), "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	want := Difference{
		From: "a", To: "b",
		Packages: []Change{{"gone", "1", ""}, {"libc6", "2.36-9", "2.36-10"}, {"new", "", "2:1"}},
		Kernels:  []Change{{"6.12", "", "there"}},
		Etc: []Change{
			{"etc/fifo", "content", ""}, {"etc/file", "content", "content"}, {"etc/loop", "content", "content"},
			{"etc/same", "attributes", "attributes"},
		},
		Files: []Change{
			{"lib/modules/6.12", "", "content"}, {"usr/bin/added", "", "content"}, {"usr/bin/second", "attributes", "attributes"},
			{"var/lib/dpkg/status", "content", "content"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Diff(t.Context(), "a", "x"); err == nil {
		t.Error("compared with what is not there")
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add("Package: a\nStatus: install ok installed\nVersion: 1\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parseStatus(strings.NewReader(text)); err != nil {
			t.Error(err)
		}
	})
}

func FuzzParseRmtab(f *testing.F) {
	f.Add("10.0.0.1:/srv:0x1\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = parseRmtab(strings.NewReader(text), func(client, path string, _ uint64) {
			if client == "" || !strings.HasPrefix(path, "/") {
				t.Errorf("client %q, path %q", client, path)
			}
		})
	})
}
