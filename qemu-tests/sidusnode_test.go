//go:build qemu

package qemutests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	treestamp "github.com/sidusboot/sidusboot/stamp"
	"github.com/sidusboot/sidusboot/versions"
)

const sidusnode = "/run/sidusboot/sidusnode"

// A nodeState is what the tests read of state.json.
type nodeState struct {
	Tree, Version, Current, Stamp, Union, RW string
	Uptime                                   int `json:"uptime_seconds"`
	Check                                    int
	Lease, Layer, Stale, Finding             []string
	Ends                                     []int  `json:"lease_ends_seconds"`
	Session                                  string `json:"lun_session"`
	Total                                    int64  `json:"rw_total_bytes"`
}

// state is what a command prints as JSON.
func (s *site) state(g *Guest, command string) (n nodeState) {
	s.t.Helper()
	text := s.run(g, command)
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		s.t.Fatalf("%s: %v in\n%s", command, err, text)
	}
	return n
}

// checks is the exit status of sidusnode check, and what it says.
func (s *site) checks(g *Guest, status int, text string) {
	s.t.Helper()
	out := s.run(g, sidusnode+" check; echo status $?")
	if !strings.Contains(out, text) || !strings.HasSuffix(out, fmt.Sprintf("status %d", status)) {
		s.t.Errorf("check says %q, want status %d and %q", out, status, text)
	}
}

// TestNodeStatus asks a node of a version how it is: as long as its version is
// current, when another one is, and when its server is silent.
func TestNodeStatus(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.dhcp(DHCPOptions{Lease: time.Hour})
	dir := filepath.Join(t.TempDir(), "base")
	if err := versions.Init(t.Context(), dir, s.tree, nil); err != nil {
		t.Fatal(err)
	}
	base, err := versions.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	publish := func(id string) {
		t.Helper()
		if _, err := base.Publish(t.Context(), versions.PublishOptions{ID: id, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	publish("a")
	server, err := s.StartNFS(s.ctx, NFSOptions{Exports: []Export{{Path: dir}}, Config: "EXPORT_DEFAULTS { Attr_Expiration_Time = 0; }"})
	if err != nil {
		t.Fatal(err)
	}
	g := s.boot("nfsroot="+ServerAddr+":"+dir+" "+probeParams, GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.checks(g, 0, "current")
	n := s.state(g, sidusnode+" status --json")
	if n.Version != "a" || n.Current != "a" || !strings.HasSuffix(n.Tree, dir+"/versions/a") || n.RW != "tmpfs" || n.Total == 0 || n.Union != "overlay" || n.Uptime == 0 {
		t.Errorf("status %+v", n)
	}
	if len(n.Lease) != 1 || n.Lease[0] != NodeAddr+" eth0 bound" || n.Ends[0] < 3000 || len(n.Layer) != 3 || !strings.HasPrefix(n.Layer[0], "/ overlay") {
		t.Errorf("lease and layers %+v", n)
	}
	s.same(g, map[string]string{
		sidusnode + " status | grep -c '^version  *a$'":   "1",
		sidusnode + " nonsense 2>/dev/null; echo $?":      "64",
		sidusnode + " --help | head -n 1":                 "Usage: sidusnode COMMAND",
		"grep -c ' /run/sidusboot ' /proc/mounts || true": "0", // The look at the base leaves nothing mounted.
	})
	// Without anybody asking: the keeper, once a minute.
	s.rest(time.Minute)
	s.run(g, "until test -s /run/sidusboot/state.json; do sleep 1; done")
	if n := s.state(g, "cat /run/sidusboot/state.json"); n.Check != 0 || n.Current != "a" {
		t.Errorf("state.json %+v", n)
	}
	publish("b")
	s.checks(g, 1, "version b is current, this node runs a")

	// A silent server: nothing of the tree is needed for the answer, and none of its
	// programs here, which could not be started either.
	s.run(g, `read t _ </proc/uptime; t=$((${t%.*} + 5)); {
	while read now _ </proc/uptime; [ ${now%.*} -lt $t ]; do :; done
	`+sidusnode+` check; echo status $?; read now _ </proc/uptime; echo took $((${now%.*} - t))
	} >/run/silent 2>&1 &`)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	s.rest(30 * time.Second)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	out := s.run(g, "until grep -q took /run/silent; do sleep 1; done; cat /run/silent")
	var took int
	if _, text, ok := strings.Cut(out, "took "); !ok {
		t.Fatalf("check says %q", out)
	} else if _, err := fmt.Sscan(text, &took); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	// The answer came before the server did.
	if !strings.Contains(out, "no answer about which version of the tree is current") || !strings.Contains(out, "status 3") || took < 4 || took > 20 {
		t.Errorf("with a silent server check says %q", out)
	}
	g.Kill()
}

// busy are the names of a plain tree that a node uses before they are replaced, as
// the table of docs/updates.md has them.
var busy = []string{"plain", "held", "running", "cwd/file", "idle"}

// heals boots a node on a plain tree, has it use files, replaces them as dpkg
// does, and tells what the node finds under these names for some minutes.
func heals(t *testing.T, renew bool) map[string]string {
	s := newSite(t, "bookworm")
	s.dhcp(DHCPOptions{})
	dir := filepath.Join(t.TempDir(), "tree")
	if out, err := exec.CommandContext(s.ctx, "cp", "-a", "--reflink=auto", s.tree, dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the tree: %v, %s", err, out)
	}
	s.tree = dir
	s.nfs(Export{}, NFSOptions{})
	replace := func(text string) {
		t.Helper()
		for _, name := range busy {
			file := filepath.Join(dir, "srv/heal", name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if name == "running" && text == "old" {
				b, err := os.ReadFile(filepath.Join(dir, "usr/bin/sleep"))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, b, 0o755); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if filepath.Base(name) == "file" && text == "new" {
				// The directory is replaced, which somebody works in.
				if err := os.Rename(filepath.Dir(file), filepath.Dir(file)+".old"); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(file+".new", []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace("old")
	plain, err := treestamp.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if renew {
		if _, err := plain.Renew(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	g := s.boot("nfsroot="+ServerAddr+":"+dir+",vers=3 "+probeParams, GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.run(g, `cd /srv/heal; cat plain idle held cwd/file >/dev/null; ./running 100000 & { sleep 100000 <held & }; { cd cwd; exec sleep 100000; } &`)
	// The keeper has seen the stamp of the boot.
	s.rest(time.Minute)
	s.run(g, "until grep -q stamp /run/sidusboot/state.json; do sleep 1; done")
	replace("new")
	if renew {
		if _, err := plain.Renew(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	s.run(g, `cat >/run/poll <<'END'
read begin rest </proc/uptime
while :; do
	read now rest </proc/uptime
	for f in `+strings.Join(busy, " ")+`; do
		text=$(head -c 3 /srv/heal/$f 2>&1); case $text in new) ;; *Stale*) text=stale;; *) text=old;; esac
		key=$(echo $f | tr -d /); eval "last=\$last_$key"
		[ "$text" = "$last" ] || echo $f $text $((${now%.*}-${begin%.*}))
		eval "last_$key=\$text"
	done
	sleep 1
done
END
sh /run/poll >/run/polled 2>&1 &`)
	for range 4 {
		s.rest(time.Minute)
		s.run(g, "tail -n 1 /run/polled")
	}
	found := map[string]string{}
	for line := range strings.Lines(s.run(g, "cat /run/polled")) {
		t.Logf("%s", strings.TrimSpace(line))
		var name, state string
		var at int
		if _, err := fmt.Sscanf(line, "%s %s %d", &name, &state, &at); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		found[name] = state
	}
	t.Logf("%s", s.run(g, "cat /run/sidusboot/state.json; dmesg | grep -v sidusboot-keeper | grep -i 'sidusboot: .*\\(tree\\|stale\\)' || true"))
	return found
}

// TestHealing replaces files of a plain tree and renews its stamp: what no program
// holds open is found anew.
func TestHealing(t *testing.T) {
	t.Parallel()
	found := heals(t, true)
	for _, name := range []string{"plain", "idle"} {
		if found[name] != "new" {
			t.Errorf("%s is %q in the end, want new", name, found[name])
		}
	}
}

// TestHealingUnknown is the same without a stamp: to show that it is the stamp by
// which the node knows.
func TestHealingUnknown(t *testing.T) {
	Soak(t)
	t.Parallel()
	found := heals(t, false)
	if found["plain"] != "stale" {
		t.Errorf("plain is %q in the end, want stale", found["plain"])
	}
}
