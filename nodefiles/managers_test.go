package nodefiles

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/managers"
)

// contents are all files and links below a directory with what they hold.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name := strings.TrimPrefix(path, root)
		switch {
		case d.IsDir():
			all[name] = "directory"
		case d.Type()&fs.ModeSymlink != 0:
			all[name], err = os.Readlink(path)
		default:
			var b []byte
			b, err = os.ReadFile(path)
			all[name] = string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t *testing.T, path, text string) {
	t.Helper()
	mustMkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A tree without these managers stays as it is, byte for byte.
func TestEditTreeWithoutManagers(t *testing.T) {
	tree := t.TempDir()
	write(t, tree+"/etc/dhcpcd.conf", "duid\n")
	mustMkdir(t, tree+"/etc/cloud/cloud.cfg.d")
	before := contents(t, tree)
	for _, devices := range [][]string{{"eth0"}, nil} {
		if errs := editTree(tree, devices); len(errs) > 0 {
			t.Error(errs)
		}
	}
	if diff := cmp.Diff(before, contents(t, tree)); diff != "" {
		t.Error(diff)
	}
}

// An upper layer that is kept sees one boot after the other: by the same NIC,
// by another one, and with sidus.lease=tree.
func TestEditTree(t *testing.T) {
	tree := t.TempDir()
	write(t, tree+"/usr/sbin/dhcpcd", "x")
	write(t, tree+"/usr/bin/cloud-init", "x")
	write(t, tree+"/real/dhcpcd.conf", "duid\ninterface eth1\nstatic ip_address=10.0.0.1/8\n")
	mustMkdir(t, tree+"/etc", tree+"/real/lib")
	mustLink(t, "/real/dhcpcd.conf", tree+"/etc/dhcpcd.conf")
	// Which are meant inside the tree.
	mustMkdir(t, tree+"/var")
	mustLink(t, "/real/lib", tree+"/var/lib")
	advise := func(devices ...string) map[string]string {
		t.Helper()
		if errs := editTree(tree, devices); len(errs) > 0 {
			t.Fatal(errs)
		}
		return contents(t, tree)
	}
	first := advise("eth0")
	if diff := cmp.Diff(first, advise("eth0")); diff != "" {
		t.Errorf("the second boot changes: %s", diff)
	}
	conf := first["/etc/dhcpcd.conf"]
	if !strings.Contains(conf, "\ndenyinterfaces eth0\nduid\n") {
		t.Errorf("dhcpcd.conf: %q", conf)
	}
	if text := first["/etc/cloud/cloud.cfg.d/zz-sidusboot.cfg"]; !strings.HasSuffix(text, "\nnetwork: {config: disabled}\n") {
		t.Errorf("cloud.cfg.d: %q", text)
	}
	if _, ok := first["/real/lib/cloud/data/upgraded-network"]; !ok {
		t.Error("no upgraded-network")
	}
	second := advise("enp1s0", "eth7")
	if got, want := second["/etc/dhcpcd.conf"], strings.Replace(conf, " eth0\n", " enp1s0 eth7\n", 1); got != want {
		t.Errorf("by other NICs: %q, want %q", got, want)
	}
	last := advise()
	if got := last["/etc/dhcpcd.conf"]; got != "duid\ninterface eth1\nstatic ip_address=10.0.0.1/8\n" {
		t.Errorf("sidus.lease=tree leaves %q", got)
	}
	for name := range last {
		if strings.Contains(name, "sidusboot") || strings.Contains(name, "upgraded-network") {
			t.Errorf("sidus.lease=tree leaves %s", name)
		}
	}
}

// What cannot be written is told about, with its name; the rest is written, and
// nothing half-written is left.
func TestEditStrangeTree(t *testing.T) {
	for name, spoil := range map[string]func(tree string){
		"a directory for dhcpcd.conf": func(tree string) { mustMkdir(t, tree+"/etc/dhcpcd.conf/x") },
		"a link in a circle":          func(tree string) { mustLink(t, "dhcpcd.conf", tree+"/etc/dhcpcd.conf") },
	} {
		tree := t.TempDir()
		write(t, tree+"/sbin/dhcpcd", "x")
		write(t, tree+"/usr/bin/cloud-init", "x")
		mustMkdir(t, tree+"/etc")
		spoil(tree)
		errs := editTree(tree, []string{"eth0"})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "dhcpcd is not told about the NIC and may take it down: ") ||
			!strings.Contains(errs[0].Error(), "/etc/dhcpcd.conf") {
			t.Errorf("%s: %v", name, errs)
		}
		if _, err := os.Stat(tree + "/etc/cloud/cloud.cfg.d/zz-sidusboot.cfg"); err != nil {
			t.Errorf("%s: cloud-init: %v", name, err)
		}
	}
	tree := t.TempDir()
	write(t, tree+"/usr/bin/cloud-init", "x")
	write(t, tree+"/etc/cloud", "a file for a directory")
	write(t, tree+"/var/lib/cloud/data/upgraded-network", "from an older release")
	errs := editTree(tree, []string{"eth0"})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "cloud-init is not told") {
		t.Errorf("a file for a directory: %v", errs)
	}
	if text := contents(t, tree)["/var/lib/cloud/data/upgraded-network"]; text != "from an older release" {
		t.Errorf("somebody else's file holds %q now", text)
	}
}

// A second attempt may be by another NIC, of which nothing may be left.
func TestWrite(t *testing.T) {
	nic := managers.NIC{
		Device: "eth0", Index: 2, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/24")},
	}
	other := nic
	other.Device, other.Index = "eth1", 3
	const unit = "[Service]\nExecStop=/sbin/ifdown -a\n"
	run := t.TempDir()
	write(t, run+"/run/systemd/network/00--sidusboot.link", "kept")
	var last []managers.File
	for _, n := range []managers.NIC{nic, other} {
		advice := managers.Advice{NICs: []managers.NIC{n}}
		last = append(advice.Files(), advice.Networking(unit)...)
		if err := errors.Join(removeOld(run), writeFiles(run, last)); err != nil {
			t.Fatal(err)
		}
	}
	got := contents(t, run)
	for name, text := range got {
		if text != "directory" && strings.Contains(name+text, "eth0") || strings.HasSuffix(name, "/2") {
			t.Errorf("of the first attempt is left: %s: %s", name, text)
		}
	}
	if got["/run/systemd/network/00--sidusboot.link"] != "kept" {
		t.Error("another file is gone")
	}
	for _, f := range last {
		info, err := os.Stat(run + f.Path)
		if err != nil || info.Mode() != f.Mode || got[f.Path] != f.Text {
			t.Errorf("%s: %v, %v, want mode %v and its text", f.Path, info, err, f.Mode)
		}
	}
}

func TestReadUnit(t *testing.T) {
	tree := t.TempDir()
	const unit = "networking.service"
	if text, err := readUnit(tree, unit); text != nil || err != nil {
		t.Errorf("readUnit of an empty tree = %q, %v", text, err)
	}
	write(t, tree+"/lib/systemd/system/"+unit, "lib")
	if text, err := readUnit(tree, unit); string(text) != "lib" || err != nil {
		t.Errorf("readUnit = %q, %v", text, err)
	}
	write(t, tree+"/etc/systemd/system/"+unit, "etc")
	if text, err := readUnit(tree, unit); string(text) != "etc" || err != nil {
		t.Errorf("readUnit = %q, %v, want the administrator's", text, err)
	}
}

func mustMkdir(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func mustLink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
