//go:build qemu

package qemutests

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestHostImage boots a node by the image for its own devices, on its volume: a card
// that is not virtio, NFS, iSCSI, ext4. The same image comes of the list that the node
// leaves.
func TestHostImage(t *testing.T) {
	t.Parallel()
	Require(t)
	const model, modalias = "e1000e", "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00"
	suites := Suites
	if !Soaking() {
		suites = suites[:1]
	}
	for _, suite := range suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, suite)
			build := func(list string) ([]byte, string) {
				t.Helper()
				file, err := BuildImage(s.ctx, s.tree, "--strict", "--profile=host="+list+",iscsi")
				if err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return b, file
			}
			first, image := build(s.file("devices", "# one card\n"+modalias+"\n"))
			t.Logf("the image has %d bytes", len(first))
			if most := map[string]int{"bookworm": 4_000_000, "trixie": 4_300_000}[suite]; len(first) > most {
				t.Errorf("the image has %d bytes, want at most %d", len(first), most)
			}
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(DHCPOptions{Router: ServerAddr})
			_, volume := s.volume("lun", 64<<20)
			s.tgt(LUN{Target: nodeTarget, File: volume, BlockSize: 512})
			g := s.boot(s.root("vers=3 ")+probeParams+" sidus.rw=iscsi sidus.iscsi.lun=1 sidus.mkfs=blank sidus.iscsi.target="+nodeTarget,
				GuestOptions{Initrd: image, NICs: []NIC{{Model: model}}})
			r := s.report(g)
			if r.Network.Driver != model || r.RW.Kind != "iscsi" || r.RW.Filesystem != "ext4" {
				t.Errorf("driver %s, rw %+v, want %s, ext4 on iSCSI", r.Network.Driver, r.RW, model)
			}
			text := s.run(g, "cat /run/sidusboot/boot.json")
			var left struct{ Devices []string }
			if err := json.Unmarshal([]byte(text), &left); err != nil || !slices.Contains(left.Devices, modalias) || !hasProcessor(left.Devices) {
				t.Errorf("%v: devices %q, want %s and the processor among them", err, left.Devices, modalias)
			}
			if again, _ := build(s.file("boot.json", text)); !bytes.Equal(again, first) {
				t.Errorf("the image of the node's own list has %d bytes and is not the one that it booted", len(again))
			}
		})
	}
}

// hasProcessor tells whether devices have the kind of processor that the node has.
func hasProcessor(devices []string) bool {
	return slices.ContainsFunc(devices, func(d string) bool {
		kind, ok := strings.CutPrefix(d, "cpu:type:x86,")
		return ok && kind != ""
	})
}
