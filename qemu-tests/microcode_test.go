//go:build qemu

package qemutests

import (
	"bytes"
	"debug/pe"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/initrd"
)

// Processors of both vendors that say that they are real ones: in a virtual machine the
// kernel loads no microcode. QEMU's take none. AMD's is one of those in the last file: what is in
// the files before, Debian 12's kernel finds, but it keeps nothing of it and says nothing.
const (
	intelCPU = "Skylake-Server-v1,-hypervisor"
	amdCPU   = "EPYC-Milan-v1,-hypervisor"
)

// What the kernel says when it has microcode for the processor: Intel's it tries to load when a
// processor is started again, of AMD's it tells, as a message for debugging, which it keeps.
const (
	intelFound = "microcode: CPU1 update to revision"
	amdFound   = "microcode: verify_and_add_patch: Added patch_id: 0x0a0011"
	amdDebug   = ` dyndbg="file arch/x86/kernel/cpu/microcode/amd.c +p"`
)

// TestMicrocode boots images with all of Debian's microcode before them: given to the kernel
// by QEMU, installed for pxelinux by initrdgen install, and in a unified kernel image. The
// kernel finds the microcode of its processor in each.
func TestMicrocode(t *testing.T) {
	t.Parallel()
	Require(t)
	Soak(t)
	tree, err := manyKernels.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := siteWithoutImage(t, tree, LabOptions{})
	s.image = s.build("--microcode=all", "--kernel="+s.release)
	s.nfs(Export{}, NFSOptions{})
	image, err := os.ReadFile(s.image)
	if err != nil {
		t.Fatal(err)
	}
	startsWithMicrocode(t, image)

	t.Run("kernel", func(t *testing.T) {
		s := s.with(t)
		defer s.dhcp(DHCPOptions{}).Stop()
		for _, test := range []struct {
			name, cpu, params, says string
		}{
			{"intel", intelCPU, "", intelFound},
			{"amd", amdCPU, amdDebug, amdFound},
			{"virtual", "max", amdDebug, ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				s := s.with(t)
				g := s.boot(s.root("vers=3 ")+probeParams+test.params, GuestOptions{Processors: 2, QEMU: []string{"-cpu", test.cpu}})
				defer g.Kill()
				s.findsMicrocode(g, test.says)
			})
		}
	})

	t.Run("pxelinux", func(t *testing.T) {
		s := s.with(t)
		b := &bootServer{site: s, dir: t.TempDir()}
		b.copies("/usr/lib/PXELINUX/pxelinux.0", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
		s.initrdgen("install", "--tftp", b.dir, "--image", s.image, "--kernel", s.kernel,
			"--append", "console=ttyS0 "+s.root("vers=3")+" "+probeParams)
		installed, err := filepath.Glob(filepath.Join(b.dir, "sidus*/*/initrd.img"))
		if err != nil || len(installed) != 1 {
			t.Fatalf("images %q, %v, want one", installed, err)
		}
		if content, err := os.ReadFile(installed[0]); err != nil || !bytes.Equal(content, image) {
			t.Errorf("the installed image is another one: %d bytes, %v", len(content), err)
		}
		defer b.serve("pxelinux.0").Stop()
		g := b.powerOn(GuestOptions{Firmware: BIOS, Processors: 2, QEMU: []string{"-cpu", intelCPU}})
		defer g.Kill()
		s.findsMicrocode(g, intelFound)
	})

	t.Run("unified kernel image", func(t *testing.T) {
		s := s.with(t)
		s.needs(hostStub)
		b := &bootServer{site: s, dir: t.TempDir()}
		b.http()
		file := filepath.Join(b.dir, "sidus.efi")
		s.uki(file, "--stub", hostStub, "--kernel", s.kernel)
		f, err := pe.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		content, err := f.Section(".initrd").Data()
		if err != nil || !bytes.HasPrefix(content, image) || len(bytes.Trim(content[len(image):], "\x00")) != 0 {
			t.Errorf("the section .initrd has not the image: %d bytes, %v", len(content), err)
		}
		defer s.dhcp(DHCPOptions{Router: ServerAddr, Extra: s.httpBoot("sidus.efi")}).Stop()
		g := b.powerOn(GuestOptions{Firmware: UEFI, Processors: 2, QEMU: append([]string{"-cpu", intelCPU}, withoutPXE...)})
		defer g.Kill()
		s.findsMicrocode(g, intelFound)
	})
}

// startsWithMicrocode checks that an image begins with the archive of microcode of both vendors,
// uncompressed, as the kernel looks for it.
func startsWithMicrocode(t *testing.T, image []byte) {
	t.Helper()
	listing, err := initrd.List(bytes.NewReader(image))
	if err != nil || len(listing.Archives) != 2 || !listing.Archives[0].Early {
		t.Fatalf("archives %+v, %v, want that of microcode and another one", listing.Archives, err)
	}
	early := listing.Archives[0]
	t.Logf("microcode: %d bytes", early.Bytes)
	for _, name := range []string{"kernel/x86/microcode/GenuineIntel.bin", "kernel/x86/microcode/AuthenticAMD.bin"} {
		if at := bytes.Index(image, []byte(name+"\x00")); at < 0 || int64(at) > early.Bytes {
			t.Errorf("%s is at byte %d, want it before byte %d", name, at, early.Bytes)
		}
	}
	if !bytes.HasPrefix(image, []byte("070701")) {
		t.Errorf("the image begins with %q, want a cpio archive", image[:6])
	}
}

// findsMicrocode checks that a node has booted, and what its kernel says of microcode in the
// image; empty: nothing.
func (s *site) findsMicrocode(g *Guest, says string) {
	s.t.Helper()
	if r := s.report(g); r.Attempts != 1 {
		s.t.Errorf("attempt %d", r.Attempts)
	}
	out := s.run(g, "cd /sys/devices/system/cpu/cpu1; echo 0 >online; echo 1 >online || :; dmesg | grep -e 'microcode: CPU1 update' -e Added.patch || :")
	if !strings.Contains(out, says) || says == "" && out != "" {
		s.t.Errorf("the kernel says of the microcode %q, want %q", out, says)
	}
}
