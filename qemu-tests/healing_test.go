//go:build qemu

package qemutests

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	treestamp "github.com/sidusboot/sidusboot/stamp"
)

// busy are the names of a plain tree that a node uses before they are replaced, as
// the table of docs/updates.md has them.
var busy = []string{"plain", "idle", "held", "running", "cwd/file"}

// descriptor is held as the process that holds it reads it, not by its name; what the
// node has of its content is dropped, but no name. What comes of it depends on the
// server: nfs-ganesha may have it open as well.
const descriptor = "descriptor"

// A healing is one row of the table: how a node has the tree, and whether it is
// told that the tree has changed.
type healing struct {
	tree   Variant
	direct bool // sidus.usr=direct
	stamp  bool
}

// replaceBusy writes the files of busy, as dpkg does it.
func replaceBusy(t *testing.T, tree, text string) {
	t.Helper()
	for _, below := range []string{"srv/heal", "usr/heal"} {
		for _, name := range busy {
			file := filepath.Join(tree, below, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if name == "cwd/file" && text == "new" {
				// The directory is replaced, which somebody works in.
				if err := os.Rename(filepath.Dir(file), filepath.Dir(file)+".old"); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			content := []byte(text)
			if name == "running" && text == "old" {
				var err error
				if content, err = os.ReadFile(filepath.Join(tree, "usr/bin/sleep")); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(file+".new", content, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// useBusy has processes use the files below a directory, and polls what the names
// lead to: a line in /run/polled for each change, with the second.
const useBusy = `cd $1/heal
cat plain idle held cwd/file >/dev/null
./running 100000 &
{ cd cwd; exec sleep 100000; } &
exec perl -e 'open F, "<", "held" or die; $| = 1; while (1) {
	sysseek F, 0, 0;
	$text = defined sysread(F, $b, 3) ? $b : $! =~ /stale/i ? "stale" : "$!";
	open O, ">", "$ARGV[0].new"; print O $text; close O; rename "$ARGV[0].new", $ARGV[0];
	sleep 15; open D, ">", "/proc/sys/vm/drop_caches"; print D 1; close D }' /run/held-${1#/}`

const pollBusy = `read begin rest </proc/uptime
while :; do
	for dir in srv usr; do
		read now rest </proc/uptime
		for f in "$@"; do
			case $f in
			descriptor) read -r text </run/held-$dir || : ;;
			*) text=$(head -c 3 /$dir/heal/$f 2>&1) ;;
			esac
			case $text in new) ;; *[Ss]tale*) text=stale;; *) text=old;; esac
			key=${dir}_${f%/*}; eval "last=\$last_$key"
			[ "$text" = "$last" ] || echo /$dir/$f $text $((${now%.*}-${begin%.*}))
			eval "last_$key=\$text"
		done
	done
	sleep 5
done`

// run boots a node on a plain tree, has it use files, replaces them as dpkg does,
// and returns what the node finds under these names during some minutes: a text
// for each name, such as "old, stale 40, new 58".
func (h healing) run(t *testing.T) map[string]string {
	s := newSiteOf(t, h.tree)
	s.dhcp(DHCPOptions{})
	dir := filepath.Join(t.TempDir(), "tree")
	if out, err := exec.CommandContext(s.ctx, "cp", "-a", "--reflink=auto", s.tree, dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the tree: %v, %s", err, out)
	}
	s.tree = dir
	s.nfs(Export{}, NFSOptions{})
	replaceBusy(t, dir, "old")
	plain, err := treestamp.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	renew := func() {
		if _, err := plain.Renew(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if h.stamp {
		renew()
	}
	params := "nfsroot=" + ServerAddr + ":" + dir + ",vers=3 " + probeParams
	if h.direct {
		params += " sidus.usr=direct"
	}
	g := s.boot(params, GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if r := s.report(g); r.Union.UsrDirect != h.direct {
		t.Fatalf("union %+v, notes %q", r.Union, r.Notes)
	}
	s.run(g, "cat >/run/use <<'END'\n"+useBusy+"\nEND\nfor d in /srv /usr; do sh /run/use $d >/dev/null 2>&1 & done")
	s.run(g, "until grep -q old /run/held-srv && grep -q old /run/held-usr; do sleep 1; done")
	// The keeper has seen the stamp of the boot.
	s.rest(time.Minute)
	if h.stamp {
		s.run(g, "until grep -q stamp /run/sidusboot/state.json; do sleep 1; done")
	}
	replaceBusy(t, dir, "new")
	if h.stamp {
		renew()
	}
	s.run(g, "cat >/run/poll <<'END'\n"+pollBusy+"\nEND\nsh /run/poll "+strings.Join(append(busy, descriptor), " ")+" >/run/polled 2>/run/poll.errors &")
	for range 4 {
		s.rest(time.Minute)
		s.run(g, "tail -n 1 /run/polled")
	}
	found := map[string]string{}
	for line := range strings.Lines(s.run(g, "cat /run/polled")) {
		var name, state string
		var at int
		if _, err := fmt.Sscanf(line, "%s %s %d", &name, &state, &at); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if found[name] != "" {
			found[name] += fmt.Sprintf(", %s %d", state, at)
		} else {
			found[name] = state
		}
	}
	t.Logf("kernel %s, direct %t, stamp %t", s.release, h.direct, h.stamp)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%-16s %s", name, found[name])
	}
	t.Logf("%s", s.run(g, "cat /run/poll.errors /run/sidusboot/state.json; dmesg | grep -v sidusboot-keeper | grep -i 'sidusboot: .*\\(tree\\|stale\\)' || true"))
	g.Kill()
	return found
}

// ended checks what a name led to in the end.
func ended(t *testing.T, found map[string]string, want string, names ...string) {
	t.Helper()
	for _, name := range names {
		states := strings.Fields(found[name])
		if len(states) == 0 || !slices.Contains(states[max(0, len(states)-2):], want) {
			t.Errorf("%s was %q, want %s in the end", name, found[name], want)
		}
	}
}

// check compares what was found with the table of docs/updates.md.
func (h healing) check(t *testing.T, found map[string]string) {
	t.Helper()
	unions := []string{"/srv"}
	if !h.direct {
		unions = append(unions, "/usr")
	}
	for _, dir := range unions {
		nobody := "stale"
		if h.stamp {
			nobody = "new"
		}
		ended(t, found, nobody, dir+"/plain", dir+"/idle")
		ended(t, found, "stale", dir+"/held", dir+"/running", dir+"/cwd/file")
	}
	if h.direct {
		for _, name := range busy {
			ended(t, found, "new", "/usr/"+name)
			if strings.Contains(found["/usr/"+name], "stale") {
				t.Errorf("/usr/%s was stale: %s", name, found["/usr/"+name])
			}
		}
	}
}

// TestHealing replaces files of a plain tree below a running node, with and
// without sidus.usr=direct, with the stamp and without. What no program holds
// open is found again where the stamp is renewed, and where /usr is straight
// from NFS all is.
func TestHealing(t *testing.T) {
	t.Parallel()
	for _, kernel := range []struct {
		name string
		tree Variant
	}{{"6.1", Variant{Suite: "bookworm"}}, {"6.12", Variant{Suite: "trixie"}}, {"7.3", newestKernel}} {
		for _, h := range []struct {
			name string
			row  healing
		}{
			{"directStamp", healing{kernel.tree, true, true}},
			{"direct", healing{kernel.tree, true, false}},
			{"unionStamp", healing{kernel.tree, false, true}},
			{"union", healing{kernel.tree, false, false}},
		} {
			t.Run(kernel.name+h.name, func(t *testing.T) {
				// The one that always runs takes its test's own turn: a subtest's comes
				// after all tests, and this one waits long enough to be the last.
				if kernel.name != "6.1" || h.name != "directStamp" {
					Soak(t)
					t.Parallel()
				}
				h.row.check(t, h.row.run(t))
			})
		}
	}
}
