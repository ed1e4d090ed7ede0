package versions

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/exports"
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
	// The base has other names, too: a link, and one below a rootdir that the server had.
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
		Open:    map[string][]string{},
		Clients: map[string][]string{"a": {"10.0.0.1", "fd00::5"}, "b": {"10.0.0.2"}, "c": {"10.0.0.9", "10.0.0.10"}},
		Unknown: []string{"10.0.0.6", "fd00::9"},
		Mounts: []Mount{{Client: "10.0.0.1", ID: "a", Count: 2}, {Client: "10.0.0.2", ID: "b", Count: 2}, {Client: "fd00::5", ID: "a", Count: 1},
			{Client: "10.0.0.9", ID: "c", Count: 1}},
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

// TestNotExported has a kernel's server without clients: that says that nobody runs a
// version only where the server exports the base, by any of its names.
func TestNotExported(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "srv/a b")
	if err := errors.Join(os.MkdirAll(base+"/versions", 0o755), os.Symlink("srv", filepath.Join(dir, "other")), os.MkdirAll(dir+"/nfsd/clients", 0o755)); err != nil {
		t.Fatal(err)
	}
	s := UsageSources{Rmtab: filepath.Join(dir, "rmtab"), Exports: exports.Sources{Table: filepath.Join(dir, "etab"), Conf: []string{filepath.Join(dir, "nfs.conf")}}, Clients: filepath.Join(dir, "nfsd/clients")}
	if _, err := ReadUsage(base, s); !errors.Is(err, ErrNotExported) {
		t.Errorf("without a table: %v, want ErrNotExported", err)
	}
	const options = "\t*(ro,no_root_squash)\n"
	for _, tt := range []struct {
		name, rootdir, etab string
		want                error
	}{
		{"nothing", "", "", ErrNotExported},
		{"the base", "", dir + `/srv/a\040b` + options, nil},
		{"what it is in", "", dir + "/srv" + options, nil},
		{"everything", "", "/\t*(ro,crossmnt)\n", nil},
		{"its versions", "", dir + `/srv/a\040b/versions` + options, nil},
		{"a link to it", "", dir + `/other/a\040b` + options, nil},
		{"a link to what it is in", "", dir + "/other" + options, nil},
		{"something else", "", "/home" + options + "\ngarbage\n\t\n", ErrNotExported},
		// A part of the base's path, which is below no rootdir.
		{"a directory's name", "", "/srv" + options, ErrNotExported},
		{"the end of its path", "", `/srv/a\040b` + options, ErrNotExported},
		{"the middle of its path", "", "/" + filepath.Base(dir) + "/srv" + options, ErrNotExported},
		{"its beginning", "", dir + "/srv/a" + options, ErrNotExported},
		{"its beginning and more", "", dir + `/srv/a\040bc` + options, ErrNotExported},
		{"below rootdir", dir, `/srv/a\040b` + options, nil},
		{"what it is in, below rootdir", dir, "/srv" + options, nil},
		{"all of rootdir", dir, "/" + options, nil},
		{"a version below rootdir", dir, `/srv/a\040b/versions/x` + options, nil},
		{"rootdir by a link", dir + "/other", `/a\040b` + options, nil},
		{"something else below rootdir", dir, "/home" + options, ErrNotExported},
		{"its path, below rootdir", dir, dir + `/srv/a\040b` + options, ErrNotExported},
		{"everything, below another rootdir", dir + "/nfsd", "/" + options, ErrNotExported},
		{"a rootdir that is not there", "/none" + dir, `/srv/a\040b` + options, ErrNotExported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := ""
			if tt.rootdir != "" {
				conf = "[exports]\nrootdir = " + tt.rootdir + "\n"
			}
			if err := errors.Join(os.WriteFile(s.Exports.Table, []byte(tt.etab), 0o644), os.WriteFile(s.Exports.Conf[0], []byte(conf), 0o644)); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadUsage(base, s); !errors.Is(err, tt.want) {
				t.Errorf("%q below %q: %v, want %v", tt.etab, tt.rootdir, err, tt.want)
			}
		})
	}
	if err := os.WriteFile(s.Exports.Conf[0], []byte("[exports]\nrootdir = $HOME\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadUsage(base, s); err == nil || errors.Is(err, ErrNotExported) {
		t.Errorf("a rootdir that is not known: %v", err)
	}
	if err := os.Remove(s.Exports.Conf[0]); err != nil {
		t.Fatal(err)
	}
	// Who has mounted it is known in any case.
	if err := errors.Join(os.WriteFile(s.Exports.Table, nil, 0o644), os.WriteFile(s.Rmtab, []byte("10.0.0.1:"+base+"/versions/a:0x1\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if u, err := ReadUsage(base, s); err != nil || len(u.Clients["a"]) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestExportedMount has a base on a file system of its own, /dev/shm: an export of what is
// above it reaches it only with the option crossmnt.
func TestExportedMount(t *testing.T) {
	const above, mounted = "/dev", "/dev/shm"
	base, err := os.MkdirTemp(mounted, "sidustree-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	var outside, inside unix.Statx_t
	if err := errors.Join(os.Mkdir(base+"/versions", 0o755), unix.Statx(unix.AT_FDCWD, above, 0, unix.STATX_MNT_ID, &outside), unix.Statx(unix.AT_FDCWD, mounted, 0, unix.STATX_MNT_ID, &inside)); err != nil {
		t.Fatal(err)
	}
	if outside.Mnt_id == inside.Mnt_id {
		t.Skipf("%s is no mount of its own", mounted)
	}
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/nfsd/clients", 0o755), os.Symlink(above, dir+"/other")); err != nil {
		t.Fatal(err)
	}
	s := UsageSources{Rmtab: filepath.Join(dir, "rmtab"), Exports: exports.Sources{Table: filepath.Join(dir, "etab")}, Clients: filepath.Join(dir, "nfsd/clients")}
	for name, tt := range map[string]struct {
		etab string
		want error
	}{
		"its file system":            {mounted + "\t*(ro,nocrossmnt)\n", nil},
		"the base":                   {base + "\t*(ro,nocrossmnt)\n", nil},
		"above it":                   {above + "\t*(ro,nocrossmnt)\n", ErrNotExported},
		"above it, another way":      {dir + "/other\t*(ro,nocrossmnt)\n", ErrNotExported},
		"everything":                 {"/\t*(ro,nohide,nocrossmnt)\n", ErrNotExported},
		"above it, crossmnt":         {above + "\t*(ro,wdelay,crossmnt)\n", nil},
		"crossmnt for one of them":   {above + "\t10.0.0.1(ro) *(rw,crossmnt)\n", nil},
		"above it, and its own line": {above + "\t*(ro)\n" + mounted + "\t*(ro)\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(s.Exports.Table, []byte(tt.etab), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadUsage(base, s); !errors.Is(err, tt.want) {
				t.Errorf("%q: %v, want %v", tt.etab, err, tt.want)
			}
		})
	}
}

// TestOpenFiles has NFSv4 clients with files open that are in one version or in
// several, in none, and in versions of which none has all.
func TestOpenFiles(t *testing.T) {
	f := newBase(t)
	f.sh(`cd staging; echo >same; echo >changed`)
	publish := func(id string) {
		t.Helper()
		if _, err := f.Publish(t.Context(), PublishOptions{ID: id, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	publish("a")
	f.sh(`cd staging; echo b >changed; echo >new`)
	publish("b")
	f.sh(`cd staging; echo c >changed`)
	publish("c")
	clients := filepath.Join(t.TempDir(), "clients")
	if err := os.Mkdir(clients, 0o755); err != nil {
		t.Fatal(err)
	}
	client := func(address string, names ...string) {
		t.Helper()
		states := ""
		for i, name := range names {
			var st syscall.Stat_t
			if err := syscall.Stat(filepath.Join(f.Path(), name), &st); err != nil {
				t.Fatal(err)
			}
			// As a kernel 6.1 says it.
			states += fmt.Sprintf("- 0x%08x: { type: %s, access: r-, deny: --, superblock: \"%02x:%02x:%d\", filename: \"x/%s\", owner: \"open id:\\x00\" }\n",
				i, []string{"open", "deleg"}[i%2], unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino, filepath.Base(name))
		}
		dir := filepath.Join(clients, address)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(dir+"/info", []byte("address: \""+address+":700\"\n"), 0o600), os.WriteFile(dir+"/states", []byte(states), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	client("10.0.0.1", "versions/a/same", "versions/a/changed", ".sidustree")
	client("10.0.0.2", "versions/b/same", "versions/b/new")
	client("10.0.0.3", "versions/b/changed")
	client("10.0.0.4", "versions/a/changed", "versions/b/changed")
	client("10.0.0.5", ".sidustree")
	client("10.0.0.6")
	// One that mounted a by NFSv3 before it was restarted, and another that has no file open.
	client("10.0.0.7", "versions/c/changed")
	client("10.0.0.8")
	rmtab := filepath.Join(clients, "../rmtab")
	if err := os.WriteFile(rmtab, []byte("10.0.0.7:"+f.Path()+"/versions/a:0x1\n10.0.0.8:"+f.Path()+"/versions/a:0x1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := UsageSources{Rmtab: rmtab, Clients: clients}
	u, err := ReadUsage(f.Path(), s)
	want := Usage{Clients: map[string][]string{
		"a": {"10.0.0.7", "10.0.0.8", "10.0.0.1", "10.0.0.4"}, "b": {"10.0.0.2", "10.0.0.3", "10.0.0.4"}, "c": {"10.0.0.2", "10.0.0.7"},
	}, Open: map[string][]string{
		"a": {"10.0.0.1", "10.0.0.4"}, "b": {"10.0.0.2", "10.0.0.3", "10.0.0.4"}, "c": {"10.0.0.2", "10.0.0.7"},
	}, Unknown: []string{"10.0.0.5", "10.0.0.6"}, Mounts: []Mount{{Client: "10.0.0.7", ID: "a", Count: 1}, {Client: "10.0.0.8", ID: "a", Count: 1}}}
	if diff := cmp.Diff(want, u); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	// With those that are not known nothing is removed, without them what nobody runs.
	if _, err := f.GC(GCOptions{Keep: 1, Usage: Usage{Unknown: u.Unknown}, DryRun: true}); err == nil {
		t.Error("gc with clients that are not known: no error")
	}
	s.Ignore = []string{"10.0.0.1", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8"}
	if u, err = ReadUsage(f.Path(), s); err != nil {
		t.Fatal(err)
	}
	if got, err := f.GC(GCOptions{Keep: 1, Usage: u, DryRun: true}); err != nil || !slices.Equal(got.Removed, []string{"a"}) {
		t.Errorf("gc: %+v, %v", got, err)
	}
	// In a grace period not all are there yet.
	for text, want := range map[string]int{"N\n": 1, "Y\n": 0} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(clients), "v4_end_grace"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if u, err := ReadUsage(f.Path(), s); err != nil || len(u.Unknown) != want {
			t.Errorf("grace ended: %q: %q, %v", text, u.Unknown, err)
		}
	}
}

// TestNewestMount has clients that mount one version after another, as rmtab
// tells of them.
func TestNewestMount(t *testing.T) {
	f := newBase(t)
	mount := func(client, id string, count uint64) Mount { return Mount{Client: client, ID: id, Count: count} }
	publish := func(id string, mounts ...Mount) {
		t.Helper()
		if mounts == nil {
			mounts = []Mount{}
		}
		if _, err := f.Publish(t.Context(), PublishOptions{ID: id, Now: time.Now(), Mounts: mounts}); err != nil {
			t.Fatal(err)
		}
	}
	publish("a")
	publish("b", mount("1", "a", 4), mount("2", "a", 1), mount("3", "a", 1), mount("4", "a", 2))
	// 1 goes to b; 2 stays; 3 goes to b and back to a; 4's file was made again.
	now := []Mount{mount("1", "a", 4), mount("2", "a", 1), mount("3", "a", 2), mount("4", "a", 1), mount("1", "b", 1), mount("3", "b", 1), mount("4", "b", 1)}
	want := map[string]map[string]bool{"a": {"1": true}}
	if diff := cmp.Diff(want, f.replaced(now)); diff != "" {
		t.Error(diff)
	}
	publish("c", now...)
	// What was not known before the publication is not known afterwards.
	if diff := cmp.Diff(want, f.replaced(now)); diff != "" {
		t.Error(diff)
	}
	publish("d", now...)
	usage := Usage{Mounts: append(now, mount("2", "d", 1)), Clients: map[string][]string{"a": {"1", "2"}}}
	got, err := f.GC(GCOptions{Keep: 1, Usage: usage, DryRun: true})
	if err != nil || got.Kept["a"] != "in use by 2 nodes, 1 among them; each has mounted another version since" {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = f.GC(GCOptions{Keep: 1, Usage: usage, DryRun: true, NewestMount: true})
	if err != nil || !slices.Contains(got.Removed, "a") {
		t.Errorf("%+v, %v", got, err)
	}
	// Who has files of it open runs it, whatever it has mounted since.
	usage.Open = map[string][]string{"a": {"1"}}
	got, err = f.GC(GCOptions{Keep: 1, Usage: usage, DryRun: true, NewestMount: true})
	if err != nil || slices.Contains(got.Removed, "a") {
		t.Errorf("%+v, %v", got, err)
	}
	// A note that cannot be read tells nothing.
	f.sh("echo x >.sidustree/mounts")
	if got := f.replaced(usage.Mounts); len(got) > 0 {
		t.Errorf("from nothing: %v", got)
	}
}
