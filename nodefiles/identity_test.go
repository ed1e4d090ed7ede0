package nodefiles

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/tree"
)

// newUnion has two directories that stand for the tree and for the union, which it
// returns the name of.
func newUnion(t *testing.T, files map[string][2]string) (u tree.Union, dir string) {
	t.Helper()
	ro, union := t.TempDir(), t.TempDir()
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
	return tree.Union{Tree: tree.At(union), Lower: tree.At(ro)}, union
}

func TestWriteOwn(t *testing.T) {
	for name, tt := range map[string]struct{ ro, union, want string }{
		"none":          {"-", "-", "own"},
		"empty":         {"", "", "own"},
		"shared":        {"tree", "tree", "own"},
		"uninitialized": {"uninitialized\n", "uninitialized\n", "own"},
		"the node's":    {"tree", "mine", "mine"},
		"only the node": {"-", "mine", "mine"},
		"ours already":  {"tree", "own", "own"},
	} {
		t.Run(name, func(t *testing.T) {
			u, union := newUnion(t, map[string][2]string{"etc/id": {tt.ro, tt.union}})
			if err := writeOwn(u, "/etc/id", "own"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if b, err := os.ReadFile(union + "/etc/id"); err != nil || string(b) != tt.want {
				t.Errorf("%s: %q, %v, want %q", name, b, err, tt.want)
			}
		})
	}
}

func TestWriteMachineID(t *testing.T) {
	const shared = "0123456789abcdef0123456789abcdef\n"
	for name, tt := range map[string]struct{ files, want map[string]string }{
		"both":          {map[string]string{"etc": shared, "dbus": shared}, map[string]string{"etc": "own", "dbus": "own"}},
		"no dbus":       {map[string]string{"etc": ""}, map[string]string{"etc": "own", "dbus": "-"}},
		"dbus's own id": {map[string]string{"etc": "", "dbus": shared}, map[string]string{"etc": "own", "dbus": "own"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string][2]string{}
			path := map[string]string{"etc": "etc/machine-id", "dbus": "var/lib/dbus/machine-id"}
			for key, text := range tt.files {
				files[path[key]] = [2]string{text, text}
			}
			u, union := newUnion(t, files)
			if err := writeMachineID(u, "own"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for key, want := range tt.want {
				b, err := os.ReadFile(filepath.Join(union, path[key]))
				if got := string(b); want == "-" && err == nil || want != "-" && got != want {
					t.Errorf("%s: %s is %q, %v, want %q", name, path[key], got, err, want)
				}
			}
		})
	}
	// A link is dbus's way to the one above.
	u, union := newUnion(t, map[string][2]string{"etc/machine-id": {shared, shared}})
	mustMkdir(t, union+"/var/lib/dbus")
	mustLink(t, "/etc/machine-id", union+"/var/lib/dbus/machine-id")
	if err := writeMachineID(u, "own"); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(union + "/var/lib/dbus/machine-id"); err != nil || target != "/etc/machine-id" {
		t.Errorf("the link is %q, %v", target, err)
	}
}

func TestWriteSSHKeys(t *testing.T) {
	root, run := t.TempDir(), t.TempDir()
	unit := filepath.Join(run, "/run/systemd/system", "sidusboot-ssh-keys.service")
	if err := writeSSHKeys(tree.At(root), run); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(unit); err == nil {
		t.Error("a tree without a server: a unit was written")
	}
	mustMkdir(t, root+"/usr/sbin", root+"/usr/bin")
	for _, program := range []string{"/usr/sbin/sshd", "/usr/bin/ssh-keygen"} {
		if err := os.WriteFile(root+program, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // An earlier attempt may have left it.
		if err := writeSSHKeys(tree.At(root), run); err != nil {
			t.Error(err)
		}
	}
	service, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ssh.service", "sshd.service", "ssh.socket", "sshd.socket"} {
		text, err := os.ReadFile(filepath.Join(run, "/run/systemd/system", name+".wants/sidusboot-ssh-keys.service"))
		if string(text) != string(service) {
			t.Errorf("%s does not want the keys: %v", name, err)
		}
	}
	for _, name := range []string{"ssh@.service", "sshd@.service"} {
		text, err := os.ReadFile(filepath.Join(run, "/run/systemd/system", name+".d/sidusboot-ssh-keys.conf"))
		if !strings.Contains(string(text), "\nAfter=sidusboot-ssh-keys.service\n") {
			t.Errorf("%s does not wait for the keys: %v", name, err)
		}
	}
	if err := removeOld(run); err != nil { // Of network managers, after that.
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(run, "/run/systemd/system", "ssh@.service.d/sidusboot-ssh-keys.conf")); err != nil {
		t.Error(err)
	}
}

// What holds nothing and makes everybody wait is replaced by what the tree has.
func TestFIFOs(t *testing.T) {
	files := map[string][2]string{}
	for _, name := range []string{"machine-id", "hosts", "fstab"} {
		files["etc/"+name] = [2]string{"tmpfs /x tmpfs\n", "-"}
	}
	u, union := newUnion(t, files)
	mustMkdir(t, union+"/etc")
	for _, name := range []string{"machine-id", "hosts", "fstab"} {
		if err := unix.Mkfifo(union+"/etc/"+name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := &Node{Leases: []*network.Lease{{Hostname: "node", Addr: netip.MustParsePrefix("10.0.0.7/24")}}}
	n.Omit = map[string]bool{"machine-id": true, "entropy": true, "hostid": true}
	errs := append(n.writeIdentity(u), writeOwn(u, "/etc/machine-id", "own\n"))
	if _, err := n.editFstab(u); errors.Join(append(errs, err)...) != nil {
		t.Error(errs, err)
	}
	for name, want := range map[string]string{
		"machine-id": "own\n", "fstab": "tmpfs /x tmpfs\n",
		"hosts": "tmpfs /x tmpfs\n127.0.0.1\tlocalhost # by sidusboot\n10.0.0.7\tnode # by sidusboot\n",
	} {
		if info, err := os.Lstat(union + "/etc/" + name); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, info, err)
			continue
		}
		if b, err := os.ReadFile(union + "/etc/" + name); string(b) != want {
			t.Errorf("%s: %q, %v, want %q", name, b, err, want)
		}
	}
}
