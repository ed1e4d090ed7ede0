package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Twenty machines have twenty identities.
func TestDerived(t *testing.T) {
	seen := map[string]string{}
	for i := range 20 {
		// Half of the boards tell the same UUID, as boards do whose maker never
		// set one.
		machine := fmt.Sprintf("sidusboot %08x-0000-0000-0000-000000000000 52:54:00:77:00:%02x", i/2*2, i)
		for kind, id := range map[string]string{
			"machine-id": string(machineID(machine)), "hostid": string(hostID(machine)), "nvme": uuidText(derive("nvme", machine)),
		} {
			if other, ok := seen[id]; ok {
				t.Errorf("%s of %s is that of %s", kind, machine, other)
			}
			seen[id] = kind + " of " + machine
		}
	}
	id := strings.TrimSpace(string(machineID("x")))
	if len(id) != 32 || id[12] != '4' || !strings.Contains("89ab", id[16:17]) {
		t.Errorf("machine-id %s is no UUID of version 4", id)
	}
	if h := hostID("x"); len(h) != 4 || string(h) == "\x00\x00\x00\x00" {
		t.Errorf("hostid %x", h)
	}
	// A change of the derivation would give every node of a room another name.
	const machine = "sidusboot u 52:54:00:77:00:01"
	if got := strings.TrimSpace(string(machineID(machine))) + " " + uuidText(derive("nvme", machine)); got !=
		"33a6abd56d7843c39d0fd0adbc14a9f3 402aa5fc-832e-496f-bb3e-52c8baacd753" {
		t.Errorf("%s is now %s", machine, got)
	}
}

// treeAndUnion are two directories that stand for the tree and for the union.
func treeAndUnion(t *testing.T, files map[string][2]string) (ro, union string) {
	t.Helper()
	ro, union = t.TempDir(), t.TempDir()
	for name, texts := range files {
		for i, root := range []string{ro, union} {
			if texts[i] == "-" {
				continue
			}
			path := filepath.Join(root, name)
			mustMkdir(t, filepath.Dir(path))
			if err := os.WriteFile(path, []byte(texts[i]), 0o444); err != nil {
				t.Fatal(err)
			}
		}
	}
	return ro, union
}

func TestGiveOwn(t *testing.T) {
	for name, tt := range map[string]struct{ ro, union, want string }{
		"none":          {"-", "-", "own"},
		"empty":         {"", "", "own"},
		"shared":        {"tree", "tree", "own"},
		"uninitialized": {"uninitialized\n", "uninitialized\n", "own"},
		"the node's":    {"tree", "mine", "mine"},
		"only the node": {"-", "mine", "mine"},
		"ours already":  {"tree", "own", "own"},
	} {
		ro, union := treeAndUnion(t, map[string][2]string{"etc/id": {tt.ro, tt.union}})
		if err := giveOwn(ro, union, "/etc/id", []byte("own")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(union + "/etc/id"); err != nil || string(b) != tt.want {
			t.Errorf("%s: %q, %v, want %q", name, b, err, tt.want)
		}
	}
}

func TestWriteMachineID(t *testing.T) {
	const shared = "0123456789abcdef0123456789abcdef\n"
	for name, tt := range map[string]struct{ files, want map[string]string }{
		"both":          {map[string]string{"etc": shared, "dbus": shared}, map[string]string{"etc": "own", "dbus": "own"}},
		"no dbus":       {map[string]string{"etc": ""}, map[string]string{"etc": "own", "dbus": "-"}},
		"dbus's own id": {map[string]string{"etc": "", "dbus": shared}, map[string]string{"etc": "own", "dbus": "own"}},
	} {
		files := map[string][2]string{}
		path := map[string]string{"etc": "etc/machine-id", "dbus": "var/lib/dbus/machine-id"}
		for key, text := range tt.files {
			files[path[key]] = [2]string{text, text}
		}
		ro, union := treeAndUnion(t, files)
		if err := writeMachineID(ro, union, []byte("own")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for key, want := range tt.want {
			b, err := os.ReadFile(filepath.Join(union, path[key]))
			if got := string(b); want == "-" && err == nil || want != "-" && got != want {
				t.Errorf("%s: %s is %q, %v, want %q", name, path[key], got, err, want)
			}
		}
	}
	// A link is dbus's way to the one above.
	ro, union := treeAndUnion(t, map[string][2]string{"etc/machine-id": {shared, shared}})
	mustMkdir(t, union+"/var/lib/dbus")
	mustLink(t, "/etc/machine-id", union+"/var/lib/dbus/machine-id")
	if err := writeMachineID(ro, union, []byte("own")); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(union + "/var/lib/dbus/machine-id"); err != nil || target != "/etc/machine-id" {
		t.Errorf("the link is %q, %v", target, err)
	}
}

func TestWithOwnName(t *testing.T) {
	addr := netip.MustParseAddr("10.77.0.11")
	const local, own = "127.0.0.1\tlocalhost\n", "10.77.0.11\tnode11.sidus.test node11 # by sidusboot\n"
	for name, tt := range map[string]struct{ old, host, domain, want string }{
		"none":                  {"", "node11", "sidus.test", "127.0.0.1\tlocalhost # by sidusboot\n" + own},
		"the tree's":            {local + "::1 ip6-localhost\n", "node11", "sidus.test", local + "::1 ip6-localhost\n" + own},
		"no newline at the end": {"127.0.0.1 localhost", "node11", "sidus.test", "127.0.0.1 localhost\n" + own},
		"of an earlier boot":    {local + "10.77.0.99\told # by sidusboot\n192.0.2.1 other\n", "node11", "sidus.test", local + "192.0.2.1 other\n" + own},
		"no domain":             {local, "node11", "", local + "10.77.0.11\tnode11 # by sidusboot\n"},
		"a whole name":          {local, "node11.a.test", "sidus.test", local + "10.77.0.11\tnode11.a.test # by sidusboot\n"},
		"a strange domain":      {local, "node11", "x y/../", local + "10.77.0.11\tnode11 # by sidusboot\n"},
	} {
		got := withOwnName(tt.old, tt.host, tt.domain, addr)
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
		if again := withOwnName(got, tt.host, tt.domain, addr); again != got {
			t.Errorf("%s: written twice: %q", name, again)
		}
	}
}
