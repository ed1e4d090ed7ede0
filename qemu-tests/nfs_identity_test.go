//go:build qemu

package qemutests

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// nfsServers are the kinds of server that the tests of many nodes use. Each
// starts one that exports the site's tree and returns its address.
var nfsServers = map[string]func(s *site) string{
	"ganesha": func(s *site) string {
		s.nfs(Export{}, NFSOptions{})
		return ServerAddr
	},
	"nfsd": func(s *site) string {
		s.nfsd(NFSDOptions{})
		return NFSDAddr
	},
}

// newNFSDSite is newSite, with all that an nfsd needs made before the site's time begins.
func newNFSDSite(t *testing.T) *site {
	t.Helper()
	tree, err := Tree(t.Context(), "bookworm")
	if err == nil {
		err = PrepareNFSD(t.Context(), tree)
	}
	if err != nil {
		t.Fatal(err)
	}
	return newSite(t, "bookworm")
}

// nfsd boots a server that exports the site's tree.
func (s *site) nfsd(o NFSDOptions) *NFSD {
	s.t.Helper()
	if o.Tree == "" {
		o.Tree = s.tree
	}
	server, err := s.StartNFSD(s.ctx, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return server
}

// TestNodesNamedAlike boots two nodes that both are called localhost over NFS
// 4.1. Both read for a while and neither stands in the other's way.
func TestNodesNamedAlike(t *testing.T) {
	t.Parallel()
	for server, start := range nfsServers {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			s := newNFSDSite(t)
			nodesRead(s, start(s), 2, "4.1", "localhost", 20*time.Second)
		})
	}
}

// TestManyNodesNamedAlike is the same with four nodes, all named alike or
// without a name, with each version 4, for a minute.
func TestManyNodesNamedAlike(t *testing.T) {
	t.Parallel()
	Soak(t)
	for server, start := range nfsServers {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			s := newNFSDSite(t)
			addr := start(s)
			for _, version := range []string{"4.0", "4.1", "4.2"} {
				for _, name := range []string{"", "localhost"} {
					t.Run(version+"/"+cmp.Or(name, "none"), func(t *testing.T) {
						nodesRead(s.with(t), addr, 4, version, name, time.Minute)
					})
				}
			}
		})
	}
}

// reader reads files of the tree, none of which it has in its memory, for $1
// seconds, and writes down how many there were, the longest time that one took,
// and whether one could not be read.
const reader = `cat >/run/reader <<'END'
now() { cut -d. -f1 /proc/uptime; }
end=$(($(now) + $1)) n=0 longest=0 failed=0
while [ $(now) -lt $end ]; do
	for file in /ro/usr/lib/x86_64-linux-gnu/lib*.so.*; do
		[ $(now) -lt $end ] || break
		echo 3 >/proc/sys/vm/drop_caches
		start=$(now)
		cat $file >/dev/null || failed=$((failed + 1))
		took=$(($(now) - start)) n=$((n + 1))
		[ $took -le $longest ] || longest=$took
		echo $n $longest $failed >/run/read.new
		mv /run/read.new /run/read
		sleep 1
	done
done
echo done >>/run/read
END
`

// clientIDs is how often a node has told an NFSv4 server who it is:
// SETCLIENTID, EXCHANGE_ID, CREATE_SESSION (linux/nfs4.h, NFSPROC4_CLNT_*).
const clientIDs = `awk '$1 == "proc4" { print $15, $41, $42 }' /proc/net/rpc/nfs`

// nodesRead boots nodes by a version, all of one name or, where that is empty,
// of none, lets them read side by side for a while and ends them. When a node
// has booted it gives its place to the next: what it reads then is little.
func nodesRead(s *site, server string, nodes int, version, name string, within time.Duration) {
	s.t.Helper()
	what := fmt.Sprintf("version %s, name %q", version, name)
	s.boots(1, siteTime)
	dhcp, err := s.StartDHCP(s.ctx, DHCPOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer dhcp.Stop()
	params := fmt.Sprintf("nfsroot=%s:%s,vers=%s %s quiet", server, s.tree, version, probeParams)
	if name != "" {
		params += " sidus.hostname=" + name
	}
	guests := make([]*Guest, nodes)
	before := make([]string, nodes)
	identities := map[string]bool{}
	for i := range guests {
		guests[i] = s.boot(params, GuestOptions{Name: "node", NICs: []NIC{{MAC: MAC(i + 1)}}, Memory: 768})
		before[i] = s.run(guests[i], clientIDs)
		identities[s.run(guests[i], "cat /sys/fs/nfs/net/nfs_client/identifier")] = true
		guests[i].leave()
	}
	if len(identities) != nodes || identities[""] || identities["(null)"] {
		s.t.Errorf("%s: %d nodes have the identities %v", what, nodes, identities)
	}
	seconds := int(within.Seconds())
	for _, g := range guests {
		s.run(g, fmt.Sprintf("%ssetsid sh /run/reader %d >/dev/null 2>&1 &", reader, seconds))
	}
	s.rest(within)
	wanted := name
	if wanted == "" {
		wanted = "(none)"
	}
	for i, g := range guests {
		// A node that waits in the kernel does not answer any more.
		ctx, cancel := context.WithTimeout(s.ctx, 90*time.Second)
		out, err := g.Must(ctx, "hostname; until grep -q done /run/read; do sleep 1; done; cat /run/read; "+clientIDs)
		cancel()
		if err != nil {
			s.t.Errorf("%s: node %d: %v", what, i, err)
			continue
		}
		fields := strings.Fields(out)
		var read, longest, failed, set, exchanged, created int
		if _, err := fmt.Sscan(strings.Join(fields[1:], " ")+" ", &read, &longest, &failed, new(string), &set, &exchanged, &created); err != nil {
			s.t.Fatalf("%s: %q: %v", what, out, err)
		}
		s.t.Logf("%s: node %d read %d files, the slowest in %d s; SETCLIENTID %d, EXCHANGE_ID %d, CREATE_SESSION %d", what, i, read, longest, set, exchanged, created)
		if fields[0] != wanted || failed > 0 || read < 3 || longest > 20 {
			s.t.Errorf("%s: node %d is called %s: %q", what, i, fields[0], out)
		}
		// Asked once, or once more where the kernel looks whether it knows the
		// server by another address, and never again.
		if after := fmt.Sprint(set, " ", exchanged, " ", created); after != before[i] || set+created == 0 || set > 2 || created > 1 || exchanged > 2 {
			s.t.Errorf("%s: node %d told the server who it is %s times after the boot, %s by the end", what, i, before[i], after)
		}
	}
	for _, g := range guests {
		g.Kill()
	}
}
