//go:build qemu

package qemutests

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// sharedIdentity is a tree in which everything that tells nodes apart is the
// same for all: as the tree's, or empty.
const sharedIdentity = `
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
mkdir -p /var/lib/dbus /etc/iscsi /etc/nvme
rm -f /var/lib/dbus/machine-id; cp /etc/machine-id /var/lib/dbus/machine-id
printf abcd >/etc/hostid
echo InitiatorName=iqn.1993-08.org.debian:01:shared >/etc/iscsi/initiatorname.iscsi
: >/etc/iscsi/iscsid.conf
echo nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000000 >/etc/nvme/hostnqn
printf '127.0.0.1\tlocalhost\n127.0.1.1\tsidus-tree\n' >/etc/hosts
`

// identityOf prints what tells a node apart, a line for each.
const identityOf = `cat /etc/machine-id; od -An -tx4 /etc/hostid | tr -d ' '; sed 's/InitiatorName=//' /etc/iscsi/initiatorname.iscsi
cat /etc/nvme/hostnqn /etc/nvme/hostid; head -c 16 /proc/sys/kernel/random/uuid; echo`

// TestIdentity boots six nodes of one tree, in a soak twenty, some of them on
// boards whose maker gave all of them one UUID: no two have anything of theirs in
// common. Those that boot a second time have the same as at the first.
func TestIdentity(t *testing.T) {
	t.Parallel()
	Require(t)
	nodes, sameBoard := 6, 3
	if Soaking() {
		nodes, sameBoard = 20, 6
	}
	var mu sync.Mutex
	seen := map[string]string{}
	// Each pair of tests boots its nodes one after the other.
	for lane := range 2 {
		t.Run(fmt.Sprint("lane", lane), func(t *testing.T) {
			t.Parallel()
			s := newSiteOf(t, Variant{Suite: "bookworm", Script: sharedIdentity})
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(DHCPOptions{Domain: "sidus.test"})
			for i := lane; i < nodes; i += 2 {
				uuid := fmt.Sprintf("4c4c4544-0042-3510-8052-%012d", i)
				if i < sameBoard {
					uuid = "03000200-0400-0500-0006-000700080009"
				}
				node := GuestOptions{Name: fmt.Sprintf("node%d", i), UUID: uuid, NICs: []NIC{{MAC: MAC(i + 1)}}}
				boots := 1
				if i == 0 || i == nodes-1 {
					boots = 2 // One of each kind.
				}
				before := ""
				for range boots {
					g := s.boot(s.root("vers=3 ")+probeParams+" quiet", node)
					ids := strings.Fields(s.run(g, identityOf))
					if len(ids) != 6 {
						t.Fatalf("%s: %q", node.Name, ids)
					}
					// The last one is random, and never the same.
					mu.Lock()
					for _, id := range ids {
						if other, ok := seen[id]; ok && other != node.Name {
							t.Errorf("%s and %s have %s both", node.Name, other, id)
						}
						seen[id] = node.Name
					}
					mu.Unlock()
					lasting := strings.Join(ids[:5], " ")
					if before != "" && lasting != before {
						t.Errorf("%s was %s and is %s", node.Name, before, lasting)
					}
					before = lasting
					s.same(g, []answer{{"cmp /etc/machine-id /var/lib/dbus/machine-id && echo same", "same"}})
					if i == 0 {
						s.same(g, []answer{
							{"cat /etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tsidus-tree\n" + NodeAddr + "\tnode11.sidus.test node11 # by sidusboot"},
							{"hostname -f", "node11.sidus.test"},
							{"cat /ro/etc/machine-id /ro/etc/hostid", "0123456789abcdef0123456789abcdef\nabcd"},
						})
					}
					g.Kill()
				}
			}
		})
	}
}

// TestIdentityOff keeps what the tree has.
func TestIdentityOff(t *testing.T) {
	t.Parallel()
	Require(t)
	s := newSiteOf(t, Variant{Suite: "bookworm", Script: sharedIdentity})
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Domain: "sidus.test"})
	g := s.boot(s.root("vers=3 ")+probeParams+" sidus.identity=none", GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	s.same(g, []answer{
		{"cat /etc/machine-id /etc/hostid", "0123456789abcdef0123456789abcdef\nabcd"},
		{"cat /etc/iscsi/initiatorname.iscsi /etc/hostname", "InitiatorName=iqn.1993-08.org.debian:01:shared\nsidus-tree"},
		{"grep -c node11 /etc/hosts || true", "0"},
		{"cat /etc/resolv.conf", "nameserver 192.0.2.1"},
	})
}
