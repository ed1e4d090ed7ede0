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
		s.same(g, []answer{
			{"echo 3 >/proc/sys/vm/drop_caches; cat /usr/share/sidusboot-test/lower", "from the shared tree"},
			{`awk '$2 == "/ro" { print $4 }' /proc/mounts | grep -o '[^a-z]port=2050'`, ",port=2050"},
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
		s.same(g, []answer{{`awk '$2 == "/ro" { print $4 }' /proc/mounts | grep -o '[^a-z]port=2050'`, ",port=2050"}})
	})
}

// TestSourcesNFSD is about the kernel's server as one of two, beside nfs-ganesha: it
// listens at other ports, and its portmapper is silent. The first server is
// down, or nfsd is silent; nfsd restarts under a node, and serves version 4 only.
func TestSourcesNFSD(t *testing.T) {
	t.Parallel()
	Soak(t) // TestSources has the same on nfs-ganesha.
	s := newNFSDSite(t)
	s.dhcp(DHCPOptions{})
	root, err := NFSDRoot(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StartNFS(s.ctx, NFSOptions{Exports: []Export{{Path: s.tree}, {Path: root}}}); err != nil {
		t.Fatal(err)
	}
	server := s.nfsd(NFSDOptions{Port: 2051, MountPort: 20051, SilentPortmapper: true})
	down := "nfsroot=" + ServerAddr + ":" + s.tree + ",port=2050 "
	nfsd := "nfsroot=" + NFSDAddr + ":" + s.tree + ",port=2051,mountport=20051 "
	const from = `awk '$2 == "/ro" { print $1 }' /proc/mounts`
	mounted := func(t *testing.T, g *Guest, address, version string) {
		t.Helper()
		s := s.with(t)
		if r := s.report(g); !strings.HasPrefix(r.Root.NFSVersion, version) || r.Attempts != 1 {
			t.Errorf("root %+v in attempt %d, want version %s in the first", r.Root, r.Attempts, version)
		}
		s.same(g, []answer{{from, address + ":" + s.tree}, {"cat /usr/share/sidusboot-test/lower", "from the shared tree"}})
	}

	t.Run("firstDown", func(t *testing.T) {
		s := s.with(t)
		g := s.boot(down+nfsd+probeParams, GuestOptions{})
		defer g.Kill()
		s.says(g, ServerAddr+":2050: connect: connection refused", "trying the next of 2 servers")
		mounted(t, g, NFSDAddr, "3")
		// nfsd restarts while the node reads.
		s.run(g, "{ for f in /usr/bin/[a-d]*; do cat $f >/dev/null || exit; done; echo read; } >/run/read 2>&1 &")
		if err := server.Stop(s.ctx); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(s.ctx); err != nil {
			t.Fatal(err)
		}
		s.until(g, "cat /run/read", "read")
		s.same(g, []answer{{"echo 3 >/proc/sys/vm/drop_caches; cat /usr/share/sidusboot-test/lower", "from the shared tree"}})
	})
	t.Run("nfsdSilent", func(t *testing.T) {
		s := s.with(t)
		if err := server.Pause(s.ctx); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := server.Resume(s.ctx); err != nil {
				t.Error(err)
			}
			s.Idle()
		}()
		// The second one would have the ports of the first.
		g := s.boot(nfsd+s.root("port=2049")+" "+probeParams, GuestOptions{})
		defer g.Kill()
		s.says(g, NFSDAddr+":2051 does not answer within 3s", "trying the next of 2 servers")
		mounted(t, g, ServerAddr, "3")
	})
	t.Run("version3Only", func(t *testing.T) {
		Soak(t)
		s := s.with(t)
		if err := server.Stop(s.ctx); err != nil {
			t.Fatal(err)
		}
		server.options.Without = []string{"4"}
		if err := server.Start(s.ctx); err != nil {
			t.Fatal(err)
		}
		g := s.boot(nfsd+probeParams, GuestOptions{})
		defer g.Kill()
		mounted(t, g, NFSDAddr, "3")
		s.run(server.Guest, "! grep -q +4 /proc/fs/nfsd/versions")
	})
	t.Run("version4Only", func(t *testing.T) {
		s := s.with(t)
		if err := server.Stop(s.ctx); err != nil {
			t.Fatal(err)
		}
		server.options.Without = []string{"3"}
		if err := server.Start(s.ctx); err != nil {
			t.Fatal(err)
		}
		g := s.boot(down+strings.Replace(nfsd, ",mountport=20051", "", 1)+probeParams, GuestOptions{})
		defer g.Kill()
		mounted(t, g, NFSDAddr, "4.2")
		// By what the node has open the server's kernel says which tree it runs:
		// sidustree gc reads this.
		s.run(server.Guest, `grep -qF "$(printf 'superblock: "%02x:%02x:%d"' $(stat -c '%Hd %Ld %i' /export`+s.tree+`/usr/bin/dash))" /proc/fs/nfsd/clients/*/states || { cat /proc/fs/nfsd/clients/*/states; false; }`)
		s.same(server.Guest, []answer{{"cat /proc/fs/nfsd/v4_end_grace", "Y"}})
	})
}
