//go:build qemu

package qemutests

import (
	"testing"
)

// TestNoDriver boots a card whose driver the profile does not have.
func TestNoDriver(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	g := s.boot(s.root("vers=3 ")+probeParams+shortWait, GuestOptions{NICs: []NIC{{Model: "i82559er"}}})
	s.says(g, "network: there is no NIC; no driver in this image for [pci 8086:1209 at ",
		"build it with --profile generic or --module NAME", "  pci 8086:1209 at 0000:00:03.0: no driver in this image", "trying again in ")
}

// without repacks the site's image without one module, as if initrdgen had
// left it out.
func (s *site) without(module string) string {
	s.t.Helper()
	plain := s.build("--compress=none")
	dir := s.t.TempDir()
	script := `cd "$1"; mkdir image; cd image
cpio --quiet -id <"$2"
rm lib/modules/*/"$3".ko
sed -i "/^module $3 /d; /^module $3\$/d" lib/modules/*/sidusboot.manifest
find . | cpio --quiet -o -H newc >../image.cpio`
	if _, err := s.Output(s.ctx, "sh", "-ec", script, "without", dir, plain, module); err != nil {
		s.t.Fatal(err)
	}
	return dir + "/image.cpio"
}

// TestModuleLeftOut boots images that lack a module which every boot needs.
func TestModuleLeftOut(t *testing.T) {
	t.Parallel()
	Require(t)
	for module, says := range map[string]string{
		"overlay": "union: the kernel has neither aufs nor overlayfs: ",
		"nfsv3":   "nfs: mount ",
	} {
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "bookworm")
			s.image = s.without(module)
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(DHCPOptions{})
			g := s.boot(s.root("vers=3 ")+probeParams, GuestOptions{})
			s.says(g, says, "module "+module+" for kernel "+s.release+" is not in this image: build it again with initrdgen build --module "+module,
				"reboot in 30s") // A new image takes a restart.
		})
	}
}

// TestWrongKernel boots a kernel that the image has no modules for.
func TestWrongKernel(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	tree, err := Tree(s.ctx, "trixie")
	if err != nil {
		t.Fatal(err)
	}
	kernel, release, err := Kernel(tree)
	if err != nil {
		t.Fatal(err)
	}
	g := s.boot(s.root("vers=3 ")+probeParams+" panic=1", GuestOptions{Kernel: kernel})
	s.says(g, "modules: this kernel is "+release+", the image has modules for "+s.release+
		": build it again with initrdgen build --kernel "+release, "reboot in 1s")
	s.ends(g, Rebooted)
}
