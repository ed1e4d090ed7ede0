package network

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Network controllers without a driver are named by their ids, others are not.
func TestUnclaimed(t *testing.T) {
	sysfs := t.TempDir()
	device := func(bus, place string, files map[string]string) {
		t.Helper()
		dir := filepath.Join(sysfs, "devices", bus, place)
		for file, text := range files {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(sysfs, "bus", bus, "devices", filepath.Base(place))
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
	}
	device("pci", "0000:00:03.0", map[string]string{"class": "0x020000", "vendor": "0x10ec", "device": "0x8139"})
	device("pci", "0000:00:04.0", map[string]string{"class": "0x020000", "vendor": "0x8086", "device": "0x100e", "driver/x": ""})
	device("pci", "0000:00:05.0", map[string]string{"class": "0x020700", "vendor": "0x15b3", "device": "0x1013"})
	device("pci", "0000:00:06.0", map[string]string{"class": "0x030000", "vendor": "0x1234", "device": "0x1111"})
	device("usb", "1-1", map[string]string{"idVendor": "0bda", "idProduct": "8153"})
	device("usb", "1-1/1-1:1.0", map[string]string{"bInterfaceClass": "ff"})
	device("usb", "1-1/1-1:1.1", map[string]string{"bInterfaceClass": "ff"})
	device("usb", "1-2/1-2:1.0", map[string]string{"bInterfaceClass": "03"})
	want := "pci 10ec:8139 at 0000:00:03.0, pci 15b3:1013 at 0000:00:05.0, usb 0bda:8153 at 1-1"
	if got := strings.Join(unclaimedControllers(sysfs), ", "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := unclaimedControllers(t.TempDir()); len(got) != 0 {
		t.Errorf("no bus: %v", got)
	}
}
