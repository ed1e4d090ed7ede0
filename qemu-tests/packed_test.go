//go:build qemu

package qemutests

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestPackedDriver boots by a card whose driver the generic image has packed: by zstd,
// which /init unpacks, and as Debian 13's own .ko.xz, which the kernel does. Then that
// driver is damaged: it is told, and the node boots by its other card.
func TestPackedDriver(t *testing.T) {
	t.Parallel()
	Require(t)
	const model, driver = "i82559er", "e100"
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, suite)
			image, err := BuildImage(s.ctx, s.tree, "--profile=generic")
			if err != nil {
				t.Fatal(err)
			}
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(DHCPOptions{})
			g := s.boot(s.root("vers=3")+" "+probeParams, GuestOptions{Initrd: image, NICs: []NIC{{Model: model}}})
			if r := s.report(g); r.Network.Driver != driver {
				t.Errorf("driver %s, want %s", r.Network.Driver, driver)
			}
		})
	}
	t.Run("damaged", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, "bookworm")
		image, err := BuildImage(s.ctx, s.tree, "--profile=generic")
		if err != nil {
			t.Fatal(err)
		}
		s.nfs(Export{}, NFSOptions{})
		s.dhcp(DHCPOptions{})
		g := s.boot(s.root("vers=3")+" "+probeParams, GuestOptions{
			Initrd: s.damaged(image, driver), NICs: []NIC{{}, {Model: model}},
		})
		s.says(g, "drivers: module "+driver+": ", driver+".ko.columns.zst in this image is damaged: build the image again, or copy it to the boot server again: ")
		if r := s.report(g); r.Network.Driver != "virtio_net" {
			t.Errorf("driver %s, want virtio_net", r.Network.Driver)
		}
	})
}

// damaged copies an image and changes a byte in the middle of a packed module.
func (s *site) damaged(image, module string) string {
	s.t.Helper()
	raw, err := os.ReadFile(image)
	if err != nil {
		s.t.Fatal(err)
	}
	at := bytes.LastIndex(raw, []byte("/"+module+".ko.columns.zst\x00"))
	if at < 0 {
		s.t.Fatalf("%s is not packed in %s", module, image)
	}
	raw[at+4000] ^= 0xff
	name := filepath.Join(s.t.TempDir(), "damaged.img")
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		s.t.Fatal(err)
	}
	return name
}
