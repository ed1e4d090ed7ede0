//go:build qemu

package qemutests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// otherDHCP are the files of examples/site for a DHCP server that a site has already: how
// Debian's program checks one, and how it runs with it in the lab.
var otherDHCP = []struct {
	file string
	// complete makes a whole file of what is to be put into one.
	complete func(text string) string
	check    []string // What comes before the name of the file.
	run      []string
	says     string
}{
	{
		file: "kea-dhcp4.conf", complete: func(text string) string { return text },
		check: []string{"kea-dhcp4", "-t"}, run: []string{"kea-dhcp4", "-d", "-c"}, says: "DHCP4_STARTED",
	},
	{
		file: "dhcpd.conf", complete: func(text string) string { return "subnet 10.13.0.0 netmask 255.255.0.0 {}\n" + text },
		check: []string{"dhcpd", "-4", "-t", "-cf"}, run: []string{"dhcpd", "-4", "-f", "-d", "--no-pid", "-cf"}, says: "Server starting service",
	},
}

// TestSiteDHCP boots a node from its power button by ISC Kea and by ISC dhcpd with the
// files of examples/site, while dnsmasq serves TFTP only. No label has nfsroot=: it comes
// by option 17.
func TestSiteDHCP(t *testing.T) {
	t.Parallel()
	Soak(t)
	for _, server := range otherDHCP {
		t.Run(server.file, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "bookworm")
			programs, err := (Variant{Suite: "bookworm", Packages: []string{"kea-dhcp4-server", "isc-dhcp-server"}}).Tree(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			root := s.view("dhcp-server", programs)
			text, err := os.ReadFile(filepath.Join("../examples/site", server.file))
			if err != nil {
				t.Fatal(err)
			}
			write := func(name, text string) {
				t.Helper()
				if err := os.WriteFile(s.Path(filepath.Join(root, name)), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			// Kea wants to find the NIC that its file names.
			if _, err := s.Output(s.ctx, "ip", "link", "add", "eth0", "type", "bridge"); err != nil {
				t.Fatal(err)
			}
			write("as-it-is", server.complete(string(text)))
			if out, err := s.Output(s.ctx, append(append([]string{"chroot", root}, server.check...), "/as-it-is")...); err != nil {
				t.Fatalf("%s: %v: %s", server.file, err, out)
			}
			lab := strings.NewReplacer("10.13.0.0/16", "10.77.0.0/24", "255.255.0.0", "255.255.255.0", "10.13.0.", "10.77.0.", "eth0", bridge, "/srv/nfsroot/sidus", s.tree)
			write("in-the-lab", lab.Replace(server.complete(string(text))))

			b := s.bootServer("/usr/lib/PXELINUX/pxelinux.0", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
			for i, arg := range b.args {
				b.args[i] = strings.ReplaceAll(arg, s.root("vers=3")+" ", "")
			}
			b.install()
			s.nfs(Export{}, NFSOptions{})
			// What systemd makes for Kea.
			if _, err := s.Output(s.ctx, "mkdir", "-p", filepath.Join(root, "run/kea"), filepath.Join(root, "run/lock/kea"), filepath.Join(root, "var/lib/kea")); err != nil {
				t.Fatal(err)
			}
			write("var/lib/dhcp/dhcpd.leases", "")
			if _, err := s.Start(s.ctx, Program{Name: "dhcp", Argv: append(append([]string{"chroot", root}, server.run...), "/in-the-lab"), Says: server.says}); err != nil {
				t.Fatal(err)
			}
			pid := filepath.Join(labDir, "tftp.pid")
			if _, err := s.Start(s.ctx, Program{
				Name: "tftp", Argv: []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--log-facility=-", "--port=0",
					"--interface=" + bridge, "--bind-interfaces", "--except-interface=lo", "--enable-tftp", "--tftp-root=" + b.dir, "--pid-file=" + pid},
				Says: "TFTP root is",
			}); err != nil {
				t.Fatal(err)
			}
			g := b.powerOn(GuestOptions{Firmware: BIOS})
			b.bootedBy(g, "tmpfs")
			s.same(g, []answer{
				{"hostname", "node11"},
				{"ip -4 -o addr show dev eth0 | awk '{ print $4 }'", "10.77.0.11/24"},
				{"grep -c nfsroot= /proc/cmdline || :", "0"},
			})
		})
	}
}
