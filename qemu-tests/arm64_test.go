//go:build qemu

package qemutests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// probeARM64 are probeParams for a machine of arm64.
func probeARM64() string { return ARM64.EventParam() + " init=" + AgentInit }

// newARM64Site opens a lab for nodes of a tree for arm64, made and booted on any machine
// by emulation.
func newARM64Site(t *testing.T) *site {
	t.Helper()
	for _, program := range []string{ARM64.program(), "/usr/libexec/qemu-binfmt/aarch64-binfmt-P"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v: install qemu-system-arm, qemu-user-static and qemu-efi-aarch64", err)
		}
	}
	tree, err := ARM64Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := siteWithoutImage(t, tree, LabOptions{})
	s.image = s.build()
	return s
}

// TestARM64 boots nodes of an arm64 tree, whose images were made on this machine, where an
// init for amd64 is refused: with a device tree to the agent, with the profiles virtual
// and generic, and to Debian's login; with ACPI from the power button, by UEFI's HTTP
// boot and a unified kernel image after the tree's own stub.
func TestARM64(t *testing.T) {
	t.Parallel()
	Soak(t) // The tree takes minutes to make, and the processor is emulated in any case.
	s := newARM64Site(t)
	s.nfs(Export{}, NFSOptions{})

	t.Run("refused", func(t *testing.T) {
		bin, err := binDir()
		if err != nil {
			t.Fatal(err)
		}
		output := filepath.Join(t.TempDir(), "initrd.img")
		out, err := exec.CommandContext(s.ctx, filepath.Join(bin, "initrdgen"), "build", "--root", s.tree, "--init", filepath.Join(bin, "init"), "--output", output).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "/bin/init is for amd64, but the kernel of the tree is for arm64") {
			t.Errorf("initrdgen build --init bin/init: %v: %s", err, out)
		}
		if _, err := os.Stat(output); err == nil {
			t.Error("there is an image")
		}
	})

	t.Run("device tree", func(t *testing.T) {
		s := s.with(t)
		dhcp := s.dhcp(DHCPOptions{Router: ServerAddr})
		defer dhcp.Stop()
		card := []NIC{{MAC: MAC(1)}}
		for _, image := range []string{s.image, s.build("--profile=generic")} {
			g := s.boot(s.root("vers=3")+" "+probeARM64(), GuestOptions{Machine: ARM64, Initrd: image, NICs: card})
			s.same(g, []answer{
				{"uname -rm", s.release + " aarch64"},
				{"stat -fc %T /ro /rw", "nfs\ntmpfs"},
				{"ls /sys/class/dmi 2>&1 | wc -l; cat /sys/firmware/devicetree/base/compatible | tr -d '\\0'", "1\nlinux,dummy-virt"},
			})
			r := s.report(g)
			if r.Network.Driver != "virtio_net" || !strings.Contains(strings.Join(r.Modules, " "), "virtio_mmio") {
				t.Errorf("driver %s, modules %v: want virtio_net, and virtio_mmio for the device tree's devices", r.Network.Driver, r.Modules)
			}
			g.Kill()
		}
		g := s.boot(s.root("vers=4.1")+" "+ARM64.EventParam()+" "+AgentParam, GuestOptions{Machine: ARM64, NICs: card})
		// systemd waits for the terminal's device for 90 s, too short for a busy machine.
		s.run(g, "systemctl start serial-getty@ttyAMA0")
		if _, err := g.Expect(s.ctx, `node11 login:`); err != nil {
			t.Fatal(err)
		}
		s.same(g, []answer{{"systemctl --failed --no-legend | wc -l", "0"}})
		s.orders(g, "", "poweroff")
		s.ends(g, PoweredOff)
	})

	t.Run("UEFI", func(t *testing.T) {
		s := s.with(t)
		s.needs(aavmfCode)
		b := &bootServer{site: s, dir: t.TempDir()}
		b.http()
		dhcp := s.dhcp(DHCPOptions{Router: ServerAddr, Extra: s.httpBoot("sidus.efi")})
		defer dhcp.Stop()
		s.initrdgen("uki", "--image", s.image, "--root", s.tree, "--output", filepath.Join(b.dir, "sidus.efi"),
			"--append", unnamed("console=ttyAMA0 "+s.root("vers=3")+" "+probeARM64()))
		g := b.powerOn(GuestOptions{Machine: ARM64, Firmware: UEFI, QEMU: withoutPXE, UUID: "7d2f0c52-54a3-4b0e-9d3e-0123456789ab"})
		s.same(g, []answer{
			{"uname -rm", s.release + " aarch64"},
			{"cat /sys/class/dmi/id/product_uuid", "7d2f0c52-54a3-4b0e-9d3e-0123456789ab"},
			{"test -d /sys/firmware/efi && ls /sys/firmware | grep -x acpi", "acpi"},
			{"grep -o 'sidus.rw=[a-z]*' /proc/cmdline", "sidus.rw=tmpfs"},
		})
		s.cameFrom(g, secondAddr, "DHCP's URL for HTTP boot")
	})
}
