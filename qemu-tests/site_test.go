//go:build qemu

package qemutests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// probeParams make a node that tells its stages and ends in the agent instead
// of a whole Debian: the cheapest look at what /init has done.
const probeParams = EventParam + " init=" + AgentInit

// smallParams make a node with systemd, but only with the units that the agent
// wants: for a node that has to end as a whole one does.
const smallParams = EventParam + " " + AgentParam + " systemd.unit=sidusboot-agent.service"

// A site is a lab for the nodes of one tree, with the tree's kernel and image.
type site struct {
	*Lab
	t                   *testing.T
	ctx                 context.Context
	tree, kernel, image string
	release             string
}

// siteTime is how long a test that boots may go without a sign of progress: see
// watch.
const siteTime = defaultPatience

// with is the site for a subtest, in which a row of a table can be run alone.
func (s *site) with(t *testing.T) *site {
	sub := *s
	sub.t = t
	return &sub
}

// newSite opens a lab without any server, with a place for one guest.
func newSite(t *testing.T, suite string) *site {
	t.Helper()
	return newSiteOf(t, Variant{Suite: suite})
}

// newSiteOf is newSite for a variant of a suite's tree.
func newSiteOf(t *testing.T, v Variant) *site {
	t.Helper()
	return newSiteIn(t, v, LabOptions{})
}

func newSiteIn(t *testing.T, v Variant, o LabOptions) *site {
	t.Helper()
	tree, err := v.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := siteWithoutImage(t, tree, o)
	s.image = s.build()
	return s
}

// siteWithoutImage is a site for a tree whose image is still to be made.
func siteWithoutImage(t *testing.T, tree string, o LabOptions) *site {
	t.Helper()
	s := &site{Lab: newLab(t, o), t: t, tree: tree}
	var err error
	if s.kernel, s.release, err = Kernel(tree); err != nil {
		t.Fatal(err)
	}
	s.boots(1, siteTime)
	return s
}

// boots takes places for guests side by side, instead of those that the site
// has. No guest may run. The test's time ends when there was no sign of progress
// for patience.
//
// Patience is no estimate of how long the test takes: siteTime, unless something
// in the test is silent for longer.
func (s *site) boots(guests int, patience time.Duration) {
	s.t.Helper()
	if err := s.Reserve(s.t.Context(), guests); err != nil {
		s.t.Fatal(err)
	}
	s.SetPatience(patience)
	ctx, cancel := s.Watched(s.t.Context())
	s.t.Cleanup(cancel)
	s.ctx = ctx
}

// rest lets the guests wait for something for a while, in which others may run
// in their places, and from then on.
func (s *site) rest(d time.Duration) {
	s.t.Helper()
	if err := s.Rest(s.ctx, d); err != nil {
		s.t.Fatal(err)
	}
}

// build makes an image of the profile virtual.
func (s *site) build(args ...string) string {
	s.t.Helper()
	image, err := BuildImage(s.ctx, s.tree, append([]string{"--profile=virtual"}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return image
}

// file writes a file for the build of an image and returns its path.
func (s *site) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// nfs starts a server that exports the site's tree as e says.
func (s *site) nfs(e Export, opts NFSOptions) *Server {
	s.t.Helper()
	e.Path = s.tree
	opts.Exports = []Export{e}
	server, err := s.StartNFS(s.ctx, opts)
	if err != nil {
		s.t.Fatal(err)
	}
	return server
}

// dhcp starts a server that knows the node.
func (s *site) dhcp(opts DHCPOptions) *Server {
	s.t.Helper()
	opts.Hosts = append(opts.Hosts, Node())
	server, err := s.StartDHCP(s.ctx, opts)
	if err != nil {
		s.t.Fatal(err)
	}
	return server
}

// root is the parameter for the site's tree, with NFS options unless they are empty.
func (s *site) root(options string) string {
	return strings.TrimSuffix("nfsroot="+ServerAddr+":"+s.tree+","+options, ",")
}

// boot starts a node. What o leaves empty is the site's.
func (s *site) boot(params string, o GuestOptions) *Guest {
	s.t.Helper()
	o.Cmdline = params
	if o.Kernel == "" {
		o.Kernel = s.kernel
	}
	if o.Initrd == "" {
		o.Initrd = s.image
	}
	if o.Name == "" {
		o.Name = NodeName
	}
	g, err := s.Boot(s.ctx, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// says waits for each text in turn, in what /init says on the console: further
// on in the same line, or in a later one.
func (s *site) says(g *Guest, texts ...string) {
	s.t.Helper()
	offset := 0
	for _, text := range texts {
		m, err := g.ExpectAfter(s.ctx, offset, `(?:\A|sidusboot: )[^\r\n]*?`+regexp.QuoteMeta(text))
		if err != nil {
			s.t.Fatal(err)
		}
		offset = m.End
	}
}

// silent checks that /init has not said a text so far.
func (s *site) silent(g *Guest, text string) {
	s.t.Helper()
	if strings.Contains(g.Console(), text) {
		s.t.Errorf("the console says %q", text)
	}
}

// run runs a command in the node and returns what it printed, without blanks
// around it.
func (s *site) run(g *Guest, command string) string {
	s.t.Helper()
	out, err := g.Must(s.ctx, command)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// orders has systemd carry out a verb, after a line in the kernel's log unless
// that is empty.
func (s *site) orders(g *Guest, line, verb string) {
	s.t.Helper()
	script := orderScript(verb)
	if line != "" {
		script = "echo '<3>sidusboot: " + line + "' >/dev/kmsg; " + script
	}
	s.run(g, script)
}

// orderScript has systemd carry out a verb when the agent has answered: the verb
// may end the agent at once, and what the agent has answered cannot be seen from
// inside the node. So there is a fixed wait.
func orderScript(verb string) string {
	return "{ sleep 0.3; exec systemctl --no-block " + verb + "; } >/dev/null 2>&1 &"
}

// An answer is a command to run in a node, and what it should print.
type answer struct{ command, text string }

// same compares what commands print in the node with what they should print.
// They run in the order in which they are written: some change what the next sees.
func (s *site) same(g *Guest, want []answer) {
	s.t.Helper()
	for _, a := range want {
		if got := s.run(g, a.command); got != a.text {
			s.t.Errorf("%s: got %q, want %q", a.command, got, a.text)
		}
	}
}

// ends waits for the node's own end and checks its kind.
func (s *site) ends(g *Guest, want Reason) {
	s.t.Helper()
	exit, err := g.Wait(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if exit.Reason != want {
		s.t.Errorf("the node ended by %s, want %s", exit.Reason, want)
	}
}

// A bootReport is what the tests read of /run/sidusboot/boot.json.
type bootReport struct {
	Version, Kernel, Profile, Init string
	Attempts                       int
	Network                        struct {
		Device, MAC, Driver, Proto, Address, Hostname string
		Routes, DNS                                   []string
		MTU                                           int
		DHCPServer                                    string `json:"dhcp_server"`
		LeaseSeconds                                  int    `json:"lease_seconds"`
	}
	Root struct {
		Source, Origin, Options string
		NFSVersion              string `json:"nfs_version"`
		TreeVersion             string `json:"tree_version"`
		Writable                bool
	}
	RW struct {
		Kind, Size, Filesystem, Device, UUID string
		Usage                                string
		Bytes                                int64
		Made, Full                           bool
		Begun                                string `json:"layer_begun_on"`
		Archived                             string `json:"layer_archived"`
	}
	Union struct {
		Kind      string
		UsrDirect bool `json:"usr_direct"`
	}
	Stages []struct {
		Name        string
		Start, Took float64
		Tries       int
	}
	Modules, Notes, Failures []string
}

// report reads the node's boot.json.
func (s *site) report(g *Guest) bootReport {
	s.t.Helper()
	text := s.run(g, "cat /run/sidusboot/boot.json")
	var r bootReport
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		s.t.Fatalf("boot.json: %v:\n%s", err, text)
	}
	return r
}

// tries is how often a stage ran.
func (r bootReport) tries(stage string) int {
	for _, s := range r.Stages {
		if s.Name == stage {
			return s.Tries
		}
	}
	return 0
}

// failedWith tells whether an attempt failed with a message that has text.
func (r bootReport) failedWith(text string) bool {
	return slices.ContainsFunc(r.Failures, func(f string) bool { return strings.Contains(f, text) })
}

// stamp is a time in the kernel's log.
const stamp = `\[ *([0-9]+\.[0-9]+)\] `

// took checks that something on the node took no longer than a limit, which is
// that of a quiet machine as fast as the one that the figures are of.
func (s *site) took(g *Guest, what string, took, within time.Duration) {
	s.t.Helper()
	if pace := g.Pace(); took.Seconds() > within.Seconds()*pace {
		s.t.Errorf("%s took %v on a node %.1f times slower than usual, want at most %v times that", what, took, pace, within)
	}
}

// until waits until a command prints a text in the node: for as long as there is
// progress.
func (s *site) until(g *Guest, command, text string) {
	s.t.Helper()
	s.run(g, fmt.Sprintf("until [ \"$(%s)\" = %s ]; do sleep 0.5; done", command, quoted([]string{text})))
}

// stopped checks how much of the guest's own time went by between two lines of
// the console: what /init or a test said, and the kernel's last message.
func (s *site) stopped(g *Guest, said string, within time.Duration) {
	s.t.Helper()
	var at [2]float64
	for i, expr := range []string{
		stamp + `sidusboot: [^\r\n]*` + regexp.QuoteMeta(said),
		stamp + `reboot: (?:Power down|Restarting system)`,
	} {
		m, err := g.Expect(s.ctx, expr)
		if err != nil {
			s.t.Fatal(err)
		}
		if at[i], err = strconv.ParseFloat(m.Groups[1], 64); err != nil {
			s.t.Fatal(err)
		}
	}
	s.took(g, fmt.Sprintf("the end after %q", said), time.Duration((at[1]-at[0])*float64(time.Second)), within)
}
