//go:build qemu

package qemutests

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// shortWait makes a stage give up soon, so that a test sees a failed attempt.
const shortWait = " sidus.timeout=10 "

// TestServerLate boots nodes before their NFS server is there, in each way in
// which it can be missing. The node says so, gives up, tries again, and boots
// once the server has come.
func TestServerLate(t *testing.T) {
	t.Parallel()
	Require(t)
	const absent = "10.77.0.99"
	for _, test := range []struct {
		name, server string
		// running starts the server before the node.
		running bool
		says    []string
		come    func(s *site, server *Server) error
	}{
		{
			name: "notStarted", server: ServerAddr,
			says: []string{"waiting for the NFS server: ", "connection refused: nothing listens there: is the NFS server running?"},
			come: func(s *site, _ *Server) error {
				s.nfs(Export{}, NFSOptions{})
				return nil
			},
		},
		{
			name: "noSuchHost", server: absent, running: true,
			says: []string{"nfs: " + absent + " does not answer ARP on eth0 in ", "is it up and in the same VLAN as this node?"},
			come: func(s *site, _ *Server) error {
				_, err := s.Output(s.ctx, "ip", "addr", "add", absent+"/24", "dev", bridge)
				return err
			},
		},
		{
			name: "silent", server: ServerAddr, running: true,
			says: []string{"the server accepts connections but does not answer the mount call"},
			come: func(_ *site, server *Server) error { return server.Resume() },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "bookworm")
			s.dhcp(DHCPOptions{})
			var server *Server
			if test.running {
				server = s.nfs(Export{}, NFSOptions{})
			}
			if test.name == "silent" {
				if err := server.Pause(); err != nil {
					t.Fatal(err)
				}
			}
			root := fmt.Sprintf("nfsroot=%s:%s,vers=3 ", test.server, s.tree)
			g := s.boot(root+probeParams+shortWait, GuestOptions{})
			s.says(g, append(test.says, "trying again in ")...)
			if _, err := g.WaitStageAgain(s.ctx, "network", Begin, 2); err != nil {
				t.Fatal(err)
			}
			if err := test.come(s, server); err != nil {
				t.Fatal(err)
			}
			s.same(g, []answer{{`awk '$2 == "/ro" { print $1 }' /proc/mounts`, test.server + ":" + s.tree}})
			r := s.report(g)
			if r.Attempts < 2 || r.tries("nfs") != r.Attempts || !r.failedWith(test.says[len(test.says)-1]) {
				t.Errorf("boot.json: %d attempts, nfs tried %d times, failures %q", r.Attempts, r.tries("nfs"), r.Failures)
			}
		})
	}
}

// TestDHCPLate boots a node before its DHCP server is there.
func TestDHCPLate(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	g := s.boot(s.root("vers=3 ")+probeParams+shortWait, GuestOptions{})
	s.says(g, "network: no answer from DHCP on eth0 ("+MAC(1)+") in 10s, link is up: is the server up, and does it know this address?",
		"trying again in ")
	if _, err := g.WaitStageAgain(s.ctx, "network", Begin, 2); err != nil {
		t.Fatal(err)
	}
	s.dhcp(DHCPOptions{})
	failed := strings.Count(g.Console(), "trying again in ")
	s.same(g, []answer{{"hostname", NodeName}})
	// The second attempt after the server's start at the latest.
	if r := s.report(g); r.Attempts < 2 || r.Attempts > failed+2 || !r.failedWith("no answer from DHCP on eth0") {
		t.Errorf("boot.json: %d attempts, failures %q", r.Attempts, r.Failures)
	}
}

// TestNoLink boots a node with its cable pulled, and plugs it in.
func TestNoLink(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	g := s.boot(s.root("vers=3 ")+probeParams+shortWait, GuestOptions{NICs: []NIC{{LinkDown: true}}})
	s.says(g, "network: eth0: link is down after 10s: check the cable and the switch port", "trying again in ")
	if err := g.SetLink(s.ctx, 0, true); err != nil {
		t.Fatal(err)
	}
	s.same(g, []answer{{"hostname", NodeName}, {"cat /sys/class/net/eth0/carrier", "1"}})
}

// TestPolicies lets a node look for a path that the server does not have, and
// follows the policies that end a boot.
func TestPolicies(t *testing.T) {
	t.Parallel()
	Require(t)
	const (
		// nfs-ganesha's mountd refuses what it does not have.
		refused = "the server does not export this path to " + NodeAddr + ": check its exports (clients, path; "
		absent  = "the server has no such path: check nfsroot= or DHCP option 17"
	)
	for _, test := range []struct {
		name, path, why, params, says string
		within                        time.Duration
		ends                          Reason
	}{
		{"reboot", "/not/there,vers=3", refused, "sidus.onerror=reboot panic=2", "reboot in 2s", 5 * time.Second, Rebooted},
		{"rebootNow", "/not/there,vers=3", refused, "sidus.onerror=reboot panic=-1", "reboot in 0s", 3 * time.Second, Rebooted},
		{"poweroff", "/not/there,vers=4.2", absent, "sidus.onerror=poweroff", "power off in 30s (sidus.onerror=poweroff)", 35 * time.Second, PoweredOff},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.name == "reboot" {
				Soak(t) // Another panic= is the same way.
			}
			s := newSite(t, "bookworm")
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(DHCPOptions{})
			root := "nfsroot=" + ServerAddr + ":" + test.path
			g := s.boot(root+" "+probeParams+" "+test.params, GuestOptions{})
			s.says(g, "nfs: mount "+ServerAddr+":/not/there with version ", test.why, test.says)
			s.ends(g, test.ends)
			s.stopped(g, test.says, test.within)
		})
	}
}

// TestRefused boots nodes that the server's exports do not name.
func TestRefused(t *testing.T) {
	t.Parallel()
	Require(t)
	for name, options := range map[string]string{"v3": "vers=3", "default": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "bookworm")
			server := s.nfs(Export{Clients: []string{"10.77.0.200"}}, NFSOptions{})
			s.dhcp(DHCPOptions{})
			g := s.boot(s.root(options)+" "+probeParams, GuestOptions{})
			s.says(g, "nfs: mount "+ServerAddr+":"+s.tree+" with version 3: ",
				"the server does not export this path to "+NodeAddr+": check its exports", "trying again in ")
			if err := server.Stop(); err != nil {
				t.Fatal(err)
			}
			s.nfs(Export{Clients: []string{NodeAddr}}, NFSOptions{})
			if r := s.report(g); r.Attempts < 2 || !r.failedWith("the server does not export this path to "+NodeAddr) {
				t.Errorf("boot.json: %d attempts, failures %q", r.Attempts, r.Failures)
			}
		})
	}
}

// TestWritableExport boots from a server that lets nodes write to the tree: it
// is said, and refused where the operator asks for that.
func TestWritableExport(t *testing.T) {
	t.Parallel()
	Require(t)
	const warning = "the export is writable: export it read-only"
	for name, strict := range map[string]bool{"told": false, "strict": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "bookworm")
			s.nfs(Export{Access: "RW"}, NFSOptions{})
			s.dhcp(DHCPOptions{})
			params := s.root("vers=3 ") + probeParams
			if strict {
				g := s.boot(params+" sidus.ro.strict=1", GuestOptions{})
				s.says(g, "nfs: "+ServerAddr+":"+s.tree+": "+warning, "trying again in ", warning, "trying again in ")
				s.silent(g, "handing over")
				return
			}
			g := s.boot(params+" sidus.ro.strict=0", GuestOptions{})
			s.says(g, warning, "handing over")
			if r := s.report(g); !r.Root.Writable || r.Attempts != 1 || !r.noted(warning) {
				t.Errorf("root %+v in attempt %d, notes %q, want a writable one in the first", r.Root, r.Attempts, r.Notes)
			}
			s.same(g, []answer{{`awk '$2 == "/ro" { print $4 }' /proc/mounts | cut -d, -f1`, "ro"}})
		})
	}
}

// TestOwnerNames boots from a server that tells owners by name and has NFSv4
// only: the node looks for a better version and takes that one then, loudly.
func TestOwnerNames(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{Versions: []int{4}}, NFSOptions{OwnerNames: true})
	s.dhcp(DHCPOptions{})
	g := s.boot(s.root("")+" "+probeParams, GuestOptions{})
	s.says(g, "the init program does not belong to root here: the server sends names instead of numbers", "; trying version 3")
	s.same(g, []answer{{"stat -c %u /usr/bin/su", "4294967294"}})
	if r := s.report(g); r.Root.NFSVersion != "4.2" || r.Attempts != 1 || !r.noted("belongs to user 4294967294", "does not belong to root here") {
		t.Errorf("root %+v in attempt %d, notes %q, want version 4.2 in the first", r.Root, r.Attempts, r.Notes)
	}
}

// TestWrongValue boots a node with a value that is none: it says what is
// allowed, and that it will reboot.
func TestWrongValue(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	g := s.boot(s.root("vers=3 ")+probeParams+" sidus.union=aufz", GuestOptions{})
	s.says(g, `config: sidus.union="aufz": `, "allowed is auto, aufs or overlay, for example sidus.union=overlay", "reboot in 30s")
}
