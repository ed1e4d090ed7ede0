//go:build qemu

package qemutests

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A bootServer is what a site offers by TFTP and HTTP, filled by initrdgen install.
type bootServer struct {
	*site
	dir  string
	args []string
}

// bootServer makes a directory with a site's kernel and image for both labels, and
// copies files of boot loaders into it. Its nodes are probes.
func (s *site) bootServer(files ...string) *bootServer {
	s.t.Helper()
	return s.bootServerOf(probeParams, files...)
}

// bootServerOf is bootServer with other parameters for all nodes.
func (s *site) bootServerOf(params string, files ...string) *bootServer {
	s.t.Helper()
	s.image = s.build(lunProfile)
	b := &bootServer{site: s, dir: s.t.TempDir()}
	b.copies(files...)
	b.args = []string{
		"install", "--tftp", b.dir, "--image", s.image, "--root", s.tree,
		"--append", "console=ttyS0 " + s.root("vers=3") + " " + params,
		"--append-iscsi", "sidus.iscsi.lun=1 sidus.mkfs=blank",
	}
	b.install()
	return b
}

// copies copies files of this machine into the directory.
func (b *bootServer) copies(files ...string) {
	b.t.Helper()
	b.needs(files...)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(b.dir, filepath.Base(file)), content, 0o644)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// needs skips a test for which a file of the host is missing, or fails it where
// Require would.
func (s *site) needs(files ...string) {
	s.t.Helper()
	for _, file := range files {
		_, err := os.Stat(file)
		switch {
		case err == nil:
		case os.Getenv("SIDUSBOOT_QEMU") == "1" || os.Getenv("CI") == "true":
			s.t.Fatalf("%v; run tools/prerequisites", err)
		default:
			s.t.Skipf("%v; run tools/prerequisites", err)
		}
	}
}

// initrdgen runs the program.
func (s *site) initrdgen(args ...string) string {
	s.t.Helper()
	bin, err := binDir()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := exec.CommandContext(s.ctx, filepath.Join(bin, "initrdgen"), args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("initrdgen %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (b *bootServer) install(more ...string) string {
	b.t.Helper()
	return b.initrdgen(append(b.args, more...)...)
}

// put writes a file below the directory.
func (b *bootServer) put(name, text string) {
	b.t.Helper()
	name = filepath.Join(b.dir, name)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(text), 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// serve starts DHCP and TFTP, with the file that a node is told to fetch.
func (b *bootServer) serve(file string, more ...string) *Server {
	b.t.Helper()
	return b.dhcp(DHCPOptions{Router: ServerAddr, Extra: append([]string{
		"--enable-tftp", "--tftp-root=" + b.dir, "--dhcp-boot=" + file,
	}, more...)})
}

// powerOn starts the node by its firmware, from the network.
func (b *bootServer) powerOn(o GuestOptions) *Guest {
	b.t.Helper()
	if o.Firmware == UEFI {
		b.needs(ovmfCode, ovmfVariables)
	}
	if o.Name == "" {
		o.Name, o.NICs = NodeName, []NIC{{MAC: MAC(1)}}
	}
	g, err := b.Boot(b.ctx, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

// bootedBy checks that the node runs the site's kernel, was told by which NIC its
// loader came, and what it has as /rw.
func (b *bootServer) bootedBy(g *Guest, rw string) {
	b.t.Helper()
	b.same(g, []answer{
		{"uname -r", b.release},
		{"grep -o 'BOOTIF=[0-9a-f:-]*' /proc/cmdline | tr : -", "BOOTIF=01-" + strings.ReplaceAll(MAC(1), ":", "-")},
		{"grep -o 'sidus.rw=[a-z]*' /proc/cmdline", "sidus.rw=" + map[string]string{"tmpfs": "tmpfs", "ext4": "iscsi"}[rw]},
		{`awk '$2 == "/rw" { print $3 }' /proc/mounts`, rw},
	})
}

// addSecondAddr gives the lab's servers secondAddr.
func (s *site) addSecondAddr() {
	s.t.Helper()
	if _, err := s.Output(s.ctx, "ip", "addr", "add", secondAddr+"/24", "dev", bridge); err != nil {
		s.t.Fatal(err)
	}
}

// unnamed are parameters of a root whose server nobody names.
func unnamed(params string) string {
	return strings.Replace(params, "nfsroot="+ServerAddr+":", "sidus.server=boot nfsroot=", 1)
}

// unnamed installs once more, with parameters that name no server.
func (b *bootServer) unnamed(more ...string) {
	b.t.Helper()
	for i := range b.args {
		b.args[i] = unnamed(b.args[i])
	}
	b.install(more...)
}

// cameFrom checks which server has the tree of the node, and how it was found.
func (s *site) cameFrom(g *Guest, server, how string) {
	s.t.Helper()
	r := s.report(g)
	if want := "path: command line, server: " + how; r.Root.Source != server+":"+s.tree || r.Root.Origin != want {
		s.t.Errorf("the tree is %s, from the %s; want it at %s, from the %s", r.Root.Source, r.Root.Origin, server, want)
	}
}

// own is the name of a node's own file of a loader.
func own(prefix string) string { return prefix + "01-" + strings.ReplaceAll(MAC(1), ":", "-") }

// TestPXE boots a node from its power button: SeaBIOS, PXE, pxelinux, what
// initrdgen install has written, first by the label of all, then by its own label.
func TestPXE(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	b := s.bootServer("/usr/lib/PXELINUX/pxelinux.0", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
	s.nfs(Export{}, NFSOptions{})
	_, file := s.volume("lun", 1<<30)
	s.tgt(LUN{Target: nodeTarget, File: file})
	b.serve("pxelinux.0")

	g := b.powerOn(GuestOptions{Firmware: BIOS})
	b.bootedBy(g, "tmpfs")
	g.Kill()

	b.put(own("pxelinux.cfg/"), "INCLUDE pxelinux.cfg/default\nDEFAULT iscsi\n")
	before, err := os.ReadFile(filepath.Join(b.dir, own("pxelinux.cfg/")))
	if err != nil {
		t.Fatal(err)
	}
	if out := b.install(); !strings.Contains(out, "this version is installed already") {
		t.Errorf("the second install says %q", out)
	}
	after, err := os.ReadFile(filepath.Join(b.dir, own("pxelinux.cfg/")))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the node's own file: %v, %q", err, after)
	}
	g = b.powerOn(GuestOptions{Firmware: BIOS})
	b.bootedBy(g, "ext4")
}

// TestRoomFromPowerOn boots four whole Debians at once from their power buttons,
// as after a power failure: SeaBIOS, PXE, pxelinux, multi-user.target, no unit that failed.
func TestRoomFromPowerOn(t *testing.T) {
	t.Parallel()
	Soak(t)
	s := newSite(t, "bookworm")
	b := s.bootServerOf(EventParam+" "+AgentParam, "/usr/lib/PXELINUX/pxelinux.0", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
	s.nfs(Export{}, NFSOptions{})
	b.serve("pxelinux.0")
	s.boots(4, siteTime)
	var nodes []*Guest
	for i := range 4 {
		nodes = append(nodes, b.powerOn(GuestOptions{Firmware: BIOS, Name: fmt.Sprint("room", i+1), NICs: []NIC{{MAC: MAC(30 + i)}}}))
	}
	addresses := make(map[string]string)
	for _, g := range nodes {
		checkSystemd(s, g, nil)
		s.same(g, []answer{{"uname -r", s.release}, {"awk '$2 == \"/rw\" { print $3 }' /proc/mounts", "tmpfs"}})
		address := s.run(g, "ip -4 -o addr show dev eth0 | awk '{ print $4 }'")
		if other := addresses[address]; other != "" {
			t.Errorf("%s and %s both have the address %s", other, g.Name(), address)
		}
		addresses[address] = g.Name()
		if r := s.report(g); r.Attempts != 1 {
			t.Errorf("%s: %d attempts, failures %q", g.Name(), r.Attempts, r.Failures)
		}
	}
	for _, g := range nodes {
		s.shutsDown(g, "poweroff", PoweredOff)
	}
}

// http offers the boot server's directory by Debian's HTTP server.
func (b *bootServer) http() *HTTPServer {
	b.t.Helper()
	server, err := b.StartHTTP(b.ctx, b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	return server
}

// asked are the requests that an HTTP server has had so far, one a line.
func (s *site) asked(server *HTTPServer) string {
	s.t.Helper()
	requests, err := server.Requests()
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(requests, "\n")
}

// TestUEFI boots a node from its power button: OVMF, UEFI's PXE, Debian's GRUB, and
// by the node's own file the label that is not the default. The tree's server is the
// one that GRUB came from: nobody else names it.
func TestUEFI(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	b := s.bootServer("/usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi")
	s.nfs(Export{}, NFSOptions{})
	b.serve("grubnetx64.efi")
	b.unnamed("--default", "iscsi")
	b.put("grub/01-"+MAC(1)+".cfg", "set default=tmpfs\n")
	g := b.powerOn(GuestOptions{Firmware: UEFI})
	b.bootedBy(g, "tmpfs")
	s.cameFrom(g, ServerAddr, "sidus.server=")
}

// TestIPXE boots a node by iPXE over HTTP, on UEFI and from a card's own iPXE under
// SeaBIOS: by the node's own file, which is fetched first. The tree's server is the one
// that the kernel came from: Debian 13's iPXE knows the URL of the directory, Debian 12's
// that of the script.
func TestIPXE(t *testing.T) {
	t.Parallel()
	Soak(t) // UEFI and its PXE are in TestUEFI, too.
	ipxe13 := Variant{Suite: "trixie", Packages: []string{"ipxe"}}
	for name, test := range map[string]struct {
		firmware Firmware
		tree     Variant
		// ipxe is the root of the file system that has iPXE in it, empty for the tree.
		ipxe, url string
	}{
		"uefi":   {UEFI, Variant{Suite: "bookworm"}, "/", "http://" + secondAddr + "/sidus.ipxe"},
		"uefi13": {UEFI, ipxe13, "", "http://" + secondAddr + "/"},
		"bios":   {BIOS, Variant{Suite: "bookworm"}, "/", "http://" + secondAddr + "/sidus.ipxe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSiteOf(t, test.tree)
			b := s.bootServer(filepath.Join(cmp.Or(test.ipxe, s.tree), "usr/lib/ipxe/snponly.efi"))
			s.nfs(Export{}, NFSOptions{})
			server := b.http()
			s.addSecondAddr()
			b.serve("snponly.efi", "--dhcp-userclass=set:ipxe,iPXE", "--dhcp-boot=tag:ipxe,http://"+secondAddr+"/sidus.ipxe")
			b.unnamed("--default", "iscsi")
			b.put(own("ipxe.cfg/"), "#!ipxe\nset label tmpfs\n")
			g := b.powerOn(GuestOptions{Firmware: test.firmware})
			b.bootedBy(g, "tmpfs")
			s.cameFrom(g, secondAddr, "sidus.server=")
			s.same(g, []answer{{"grep -o 'sidus.server=[^ ]*' /proc/cmdline", "sidus.server=boot," + test.url}})
			if asked := s.asked(server); !strings.Contains(asked, "/initrd.img") {
				t.Errorf("the image did not come by HTTP:\n%s", asked)
			}
		})
	}
}
