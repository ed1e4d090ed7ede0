package initrd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// buses are the drivers behind which devices of another bus appear, with the text
// that the modaliases of these devices begin with.
var buses = map[string]string{
	"virtio_pci": "virtio", "virtio_mmio": "virtio", "hv_vmbus": "vmbus",
	"xhci_pci": "usb", "ehci_pci": "usb", "ohci_pci": "usb", "uhci_hcd": "usb",
}

// virtualNICs are how modaliases of virtual network cards begin: the ID of
// VIRTIO_ID_NET, the GUID of HV_NIC_GUID.
var virtualNICs = []string{"virtio:d00000001v", "vmbus:635161f83edfc546913ff2d2f965ed0e", "xen:vif"}

// kindOf tells what a device is, by its modalias and by the module that drives it, as
// far as that and its file below lib/modules/RELEASE are known.
func kindOf(modalias, module, file string) DeviceKind {
	if buses[module] != "" {
		return Bus
	}
	for _, prefix := range virtualNICs {
		if strings.HasPrefix(modalias, prefix) {
			return NIC
		}
	}
	switch class, ok := pciClass(modalias); {
	case ok && strings.HasPrefix(class, "02") && class != "0280": // Wireless is 80.
		return NIC
	case ok && strings.HasPrefix(class, "01"):
		return Disk
	}
	for _, s := range []string{"ethernet", "virtio", "virtual", "usb", "infiniband"} {
		if module != "" && sets[s].has(module, file) {
			return NIC
		}
	}
	if module != "" && sets["disk"].has(module, file) {
		return Disk
	}
	return Other
}

// pciClass is the class and subclass of a PCI device: "0200" of
// pci:v….bc02sc00i00.
func pciClass(modalias string) (class string, ok bool) {
	rest, ok := strings.CutPrefix(modalias, "pci:")
	if !ok {
		return "", false
	}
	_, rest, ok = strings.Cut(rest, "bc")
	if !ok || len(rest) < 6 || rest[2:4] != "sc" {
		return "", false
	}
	return rest[:2] + rest[4:6], true
}

// ReadDevices reads the devices of a node: a text of modaliases, one a line, as
// cat /sys/bus/*/devices/*/modalias prints them, or its boot.json. A line that begins with # is a comment.
func ReadDevices(r io.Reader) ([]string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxDevices+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxDevices {
		return nil, fmt.Errorf("more than %d MB, so not a list of devices", maxDevices>>20)
	}
	var devices []string
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		var report struct {
			Devices []string `json:"devices"`
		}
		if err := json.Unmarshal(trimmed, &report); err != nil {
			return nil, fmt.Errorf("JSON, but not a boot.json: %w", err)
		}
		if report.Devices == nil {
			return nil, errors.New("this boot.json has no list of devices: an older image wrote it; run cat /sys/bus/*/devices/*/modalias on the node")
		}
		devices = report.Devices
	} else {
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			if bus, _, ok := strings.Cut(line, ":"); !ok || bus == "" || image.CheckParams(line) != nil {
				return nil, fmt.Errorf("line %d: %.80q is not a modalias: write one on each line, as cat /sys/bus/*/devices/*/modalias prints them", number, line)
			}
			devices = append(devices, line)
		}
	}
	if len(devices) == 0 {
		return nil, errors.New("it has no devices: run cat /sys/bus/*/devices/*/modalias on the node")
	}
	return devices, nil
}

// maxDevices is the largest list of devices that is read.
const maxDevices = 4 << 20
