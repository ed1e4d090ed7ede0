//go:build qemu

package qemutests

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	base := newBase(t, dir, s.tree)
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
	s.same(g, []answer{
		{sidusnode + " status | grep -c '^version  *a$'", "1"},
		{sidusnode + " nonsense 2>/dev/null; echo $?", "64"},
		{sidusnode + " --help | head -n 1", "Usage: sidusnode COMMAND"},
		{"grep -c ' /run/sidusboot ' /proc/mounts || true", "0"}, // The look at the base leaves nothing mounted.
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
