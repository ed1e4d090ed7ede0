package network

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// The names of cards as systemd 252 to 257 give them, by sysfs.
func TestPredictable(t *testing.T) {
	for _, tt := range []struct {
		what, device string
		files        map[string]string
		want         string
	}{
		{"on the board", "pci0000:00/0000:00:1f.6", map[string]string{"index": "1"}, "enp0s31f6 eno1"},
		{"by ACPI", "pci0000:00/0000:00:19.0", map[string]string{"acpi_index": "4", "index": "1"}, "enp0s25 eno4"},
		{"a card behind a bridge", "pci0000:00/0000:00:1c.4/0000:02:00.0", nil, "enp2s0"},
		{"the first of two functions", "pci0000:00/0000:00:1c.4/0000:02:00.0", map[string]string{"config": strings.Repeat("\x00", 14) + "\x80" + strings.Repeat("\x00", 49)}, "enp2s0f0"},
		{"the second", "pci0000:00/0000:00:1c.4/0000:3b:00.1", nil, "enp59s0f1"},
		{"a second port of one function", "pci0000:00/0000:00:1c.4/0000:3b:00.0", map[string]string{"net/dev_port": "1"}, "enp59s0d1"},
		{"a port with a name", "pci0000:00/0000:00:1c.4/0000:3b:00.0", map[string]string{"net/phys_port_name": "p0"}, "enp59s0np0"},
		{"another domain", "pci10000:00/10000:00:02.0", nil, "enP65536p0s2"},
		{"virtio in a slot", "pci0000:00/0000:00:03.0/virtio0", map[string]string{"slot": "3"}, "enp0s3 ens3"},
		{"USB", "pci0000:00/0000:00:14.0/usb1/1-4/1-4.2/1-4.2:1.0", nil, "enp0s20u4u2"},
		{"USB, another configuration and interface", "pci0000:00/0000:00:14.0/usb2/2-1/2-1:2.1", nil, "enp0s20u1c2i1"},
		{"on no bus that we know", "platform/x/fsl", nil, ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			sysfs := t.TempDir()
			device := filepath.Join(sysfs, "devices", tt.device)
			card := filepath.Join(device, "net", "eth0")
			write := func(path, text string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			link := func(to, path string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(to, path); err != nil {
					t.Fatal(err)
				}
			}
			write(filepath.Join(card, "dev_port"), "0\n")
			link(device, filepath.Join(card, "device"))
			link(card, filepath.Join(sysfs, "class/net/eth0"))
			pci := filepath.Dir(filepath.Join(device, "x"))
			for filepath.Base(filepath.Dir(pci)) != "devices" {
				if parsePCI(filepath.Base(pci)) != nil {
					break
				}
				pci = filepath.Dir(pci)
			}
			for name, text := range tt.files {
				switch dir, file := filepath.Split(name); {
				case name == "slot":
					write(filepath.Join(sysfs, "bus/pci/slots", text, "address"), strings.TrimSuffix(filepath.Base(pci), ".0")+"\n")
				case dir != "":
					write(filepath.Join(card, file), text+"\n")
				default:
					write(filepath.Join(pci, name), text)
				}
			}
			a := &rtnetlink.Link{Name: "eth0", HardwareAddr: mac}
			want := strings.TrimSpace("enx525400000001 " + tt.want)
			if got := strings.Join(predictable(sysfs, a), " "); got != want {
				t.Errorf("%s: %q, want %q", tt.what, got, want)
			}
		})
	}
}

// FuzzPlace: no path is too strange.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"0000:00:1f.6", "1-4.2:1.0", ":", "-", "1-:.", "0000:00:00.0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if text := usbPorts(s); strings.Trim(text, "0123456789uci") != "" {
			t.Errorf("usbPorts(%q) = %q", s, text)
		}
		parsePCI(s)
	})
}
