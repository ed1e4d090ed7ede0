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

// newARM64Site opens a lab for nodes of a suite's tree for arm64, made and booted on any
// machine by emulation.
func newARM64Site(t *testing.T, suite string) *site {
	t.Helper()
	for _, program := range []string{ARM64.program(), "/usr/libexec/qemu-binfmt/aarch64-binfmt-P"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v: install qemu-system-arm, qemu-user-static and qemu-efi-aarch64", err)
		}
	}
	tree, err := ARM64Tree(t.Context(), suite)
	if err != nil {
		t.Fatal(err)
	}
	s := siteWithoutImage(t, tree, LabOptions{})
	s.image = s.build()
	return s
}

// TestARM64 boots nodes of arm64 trees, whose images were made on this machine, where an
// init for amd64 is refused: with a device tree to the agent, with the profiles virtual
// and generic, to the agent with a LUN, and to Debian's login; with ACPI from the power button, by
// UEFI's HTTP boot and a unified kernel image after the tree's own stub, and by PXE and
// Debian's GRUB; and with versions, from one to the next.
func TestARM64(t *testing.T) {
	t.Parallel()
	Soak(t) // The trees take minutes to make, and the processor is emulated in any case.
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			testARM64(newARM64Site(t, suite))
		})
	}
}

func testARM64(s *site) {
	t := s.t
	server := s.nfs(Export{}, NFSOptions{})

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

	t.Run("LUN", func(t *testing.T) {
		s := s.with(t)
		dhcp := s.dhcp(DHCPOptions{Router: ServerAddr})
		defer dhcp.Stop()
		host, file := s.volume("lun", 64<<20)
		defer s.tgt(LUN{Target: nodeTarget, File: file, User: "node", Password: "a-secret-of-16-b"}).Stop()
		node := GuestOptions{Machine: ARM64, Initrd: s.build(lunProfile), NICs: []NIC{{MAC: MAC(1)}}}
		params := s.root("vers=3") + " " + ARM64.EventParam() + " sidus.rw=iscsi sidus.iscsi.lun=1 sidus.mkfs=blank " +
			"sidus.iscsi.user=node sidus.iscsi.password=a-secret-of-16-b "
		g := s.boot(params+"init="+AgentInit, node)
		s.same(g, []answer{{"echo kept >/root/kept; sync; stat -fc %T /ro; awk '$2 == \"/rw\" { print $3 }' /proc/mounts", "nfs\next4"}})
		if r := s.report(g); !r.RW.Made || r.RW.Kind != "iscsi" {
			t.Errorf("rw %+v, want a file system that was made on iSCSI", r.RW)
		}
		g.Kill()
		// A whole Debian ends the session and leaves the file system clean.
		g = s.boot(params+AgentParam+" systemd.unit=sidusboot-agent.service", node)
		s.same(g, []answer{{"cat /root/kept", "kept"}})
		s.shutsDown(g, "reboot", Rebooted)
		clean(t, host)
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

	t.Run("GRUB", func(t *testing.T) {
		s := s.with(t)
		s.needs(aavmfCode)
		b := &bootServer{site: s, dir: t.TempDir()}
		b.copies(filepath.Join(s.tree, "usr/lib/grub/arm64-efi/monolithic/grubnetaa64.efi"))
		s.initrdgen("install", "--tftp", b.dir, "--image", s.image, "--root", s.tree,
			"--append", unnamed("console=ttyAMA0 "+s.root("vers=3")+" "+probeARM64()))
		defer b.serve("grubnetaa64.efi").Stop()
		b.bootedBy(b.powerOn(GuestOptions{Machine: ARM64, Firmware: UEFI}), "tmpfs")
	})

	t.Run("update", func(t *testing.T) {
		server.Stop()
		s := s.with(t).versions()
		params := "nfsroot=" + ServerAddr + ":" + s.dir + " " + ARM64.EventParam() + " " + AgentParam + " systemd.unit=sidusboot-agent.service"
		node := GuestOptions{Machine: ARM64, NICs: []NIC{{MAC: MAC(1)}}}
		g := s.boot(params, node)
		s.same(g, []answer{{"cat " + unread, "a"}})
		s.makeCurrent("b")
		if soft := s.run(g, "systemctl --help | grep -c soft-reboot || :"); soft != "0" {
			s.updates(g, "")
			s.same(g, []answer{
				{"cat " + unread, "b"},
				{"head -n 1 /run/update.log", "update from version a to b by soft-reboot: same kernel and image"},
			})
			return
		}
		// Debian 12's systemd knows no soft-reboot, and its kernel no kexec.
		s.run(g, "{ sleep 0.3; "+sidusnode+" update; } >/dev/null 2>&1 </dev/null &")
		s.says(g, "update from version a to b by reboot: no soft-reboot: ", "no kexec: this kernel does not support kexec (CONFIG_KEXEC_FILE is not set)")
		s.ends(g, Rebooted)
		s.same(s.boot(params, node), []answer{{"cat " + unread, "b"}})
	})
}
