//go:build qemu

package qemutests

import (
	"strings"
	"testing"
)

// TestSources boots a node whose tree is on two servers: the first one accepts
// connections and is silent, then both are down and one comes back. There is no
// portmapper, and the second server listens at other ports, by version 3 only.
func TestSources(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.dhcp(DHCPOptions{Domain: "sidus.test", Names: map[string]string{"nas.sidus.test": ServerAddr},
		Extra: []string{"--srv-host=_nfs._tcp.sidus.test,nas.sidus.test,2049,10,1", "--srv-host=_nfs._tcp.sidus.test,nas.sidus.test,2050,20,1"}})
	// ganesha does not start with version 3 without a portmapper: it is there
	// meanwhile only.
	second := func(s *site) *Server {
		t.Helper()
		portmapper, err := s.StartPortmapper(s.ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		server := s.nfs(Export{Versions: []int{3}}, NFSOptions{NoPortmapper: true, Port: 2050, MountPort: 20050})
		if err := portmapper.Kill(); err != nil {
			s.t.Fatal(err)
		}
		return server
	}
	params := s.root("vers=4.2") + " nfsroot=" + ServerAddr + ":" + s.tree + ",vers=3,port=2050,mountport=20050 " + probeParams

	t.Run("silent", func(t *testing.T) {
		s := s.with(t)
		silent := s.nfs(Export{Versions: []int{4}}, NFSOptions{NoPortmapper: true})
		defer silent.Stop()
		other := second(s)
		if err := silent.Pause(); err != nil {
			t.Fatal(err)
		}
		g := s.boot(params, GuestOptions{})
		defer g.Kill()
		s.says(g, ServerAddr+":2049 does not answer within 3s", "trying the next of 2 servers")
		if r := s.report(g); r.Root.NFSVersion != "3" || r.Attempts != 1 {
			t.Errorf("root %+v in attempt %d, want version 3 in the first", r.Root, r.Attempts)
		}
		// The server restarts under the node, which waits for it.
		if err := other.Kill(); err != nil {
			t.Fatal(err)
		}
		other = second(s)
		defer other.Stop()
		s.same(g, map[string]string{
			"echo 3 >/proc/sys/vm/drop_caches; cat /usr/share/sidusboot-test/lower":   "from the shared tree",
			`awk '$2 == "/ro" { print $4 }' /proc/mounts | grep -o '[^a-z]port=2050'`: ",port=2050",
		})
		if err := silent.Resume(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("back", func(t *testing.T) {
		s := s.with(t)
		g := s.boot(params, GuestOptions{})
		defer g.Kill()
		s.says(g, ServerAddr+":2049: connect: connection refused", ServerAddr+":2050: connect: connection refused")
		server := second(s)
		defer server.Stop()
		if r := s.report(g); r.Root.NFSVersion != "3" || r.Attempts != 1 {
			t.Errorf("root %+v in attempt %d, want version 3 in the first", r.Root, r.Attempts)
		}
	})
	t.Run("DNS", func(t *testing.T) {
		s := s.with(t)
		server := s.nfs(Export{Versions: []int{4}}, NFSOptions{NoPortmapper: true, Port: 2050, MountPort: 20050})
		defer server.Stop()
		g := s.boot("nfsroot=_nfs._tcp:"+s.tree+" sidus.root.spread=hash "+probeParams, GuestOptions{})
		defer g.Kill()
		s.says(g, ServerAddr+":2049: connect: connection refused")
		r := s.report(g)
		if !strings.HasPrefix(r.Root.NFSVersion, "4.") || r.Attempts != 1 {
			t.Errorf("root %+v in attempt %d, want version 4 in the first", r.Root, r.Attempts)
		}
		s.same(g, map[string]string{`awk '$2 == "/ro" { print $4 }' /proc/mounts | grep -o '[^a-z]port=2050'`: ",port=2050"})
	})
}
