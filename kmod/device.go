package kmod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/image"
)

// LoadDevices loads the modules whose aliases match the devices in sysfs, and
// again for the devices that appear then (a virtio NIC appears with virtio_pci),
// until there is no new one. It returns what it loaded. A module
// that fails does not keep the others from loading: the errors are joined.
// Modules in except are left for another call, and those that drive nothing but
// disks for LoadDisks.
func (l *Loader) LoadDevices(sysfs string, except map[string]bool) ([]string, error) {
	return l.loadDevices(sysfs, func(name string) bool { return except[name] || l.disks[name] })
}

// LoadDisks is LoadDevices with the drivers of disks.
func (l *Loader) LoadDisks(sysfs string, except map[string]bool) ([]string, error) {
	return l.loadDevices(sysfs, func(name string) bool { return except[name] })
}

func (l *Loader) loadDevices(sysfs string, except func(name string) bool) ([]string, error) {
	var loaded []string
	var errs []error
	index := image.NewAliasIndex(l.manifest.Aliases)
	seen := make(map[string]bool)
	tried := make(map[string]bool)
	for {
		var found []string
		for _, modalias := range modaliases(sysfs, index.Buses()) {
			if seen[modalias] {
				continue
			}
			seen[modalias] = true
			for _, name := range index.Match(modalias) {
				if !tried[name] && !except(name) && !l.opts.Blacklist[name] {
					tried[name] = true
					found = append(found, name)
				}
			}
		}
		if len(found) == 0 {
			return loaded, errors.Join(errs...)
		}
		for _, name := range found {
			err := l.Load(name)
			switch {
			case err == nil:
				loaded = append(loaded, name)
			case errors.Is(err, unix.ENODEV):
				// The driver found no device for it.
			default:
				errs = append(errs, err)
			}
		}
	}
}

// Devices returns the modaliases of all devices in sysfs, and that of the processors, sorted, each once.
func Devices(sysfs string) []string {
	dirs, err := os.ReadDir(filepath.Join(sysfs, "bus"))
	if err != nil {
		return nil
	}
	var buses []string
	for _, d := range dirs {
		buses = append(buses, d.Name())
	}
	all := modaliases(sysfs, buses)
	if text, err := os.ReadFile(filepath.Join(sysfs, "devices/system/cpu/modalias")); err == nil {
		all = append(all, strings.TrimSpace(string(text)))
	}
	all = slices.DeleteFunc(all, func(m string) bool { return m == "" })
	slices.Sort(all)
	return slices.Compact(all)
}

// modaliases reads the modalias of every device whose alias begins with one of buses.
func modaliases(sysfs string, buses []string) []string {
	var all []string
	for _, bus := range folders(buses) {
		dir := filepath.Join(sysfs, "bus", bus, "devices")
		devices, err := os.ReadDir(dir)
		if err != nil {
			continue // No such bus in this machine.
		}
		for _, d := range devices {
			text, err := os.ReadFile(filepath.Join(dir, d.Name(), "modalias"))
			if err == nil {
				all = append(all, strings.TrimSpace(string(text)))
			} else if text, err = os.ReadFile(filepath.Join(dir, d.Name(), "phy_id")); err == nil {
				all = append(all, phyAlias(string(text)))
			}
		}
	}
	return all
}

// folders are those of sysfs for the buses that aliases begin with. A bus has mostly the
// same name in both. Devices of a device tree (of:) are on several buses, and PHYs are
// mdio in an alias.
func folders(buses []string) []string {
	var names []string
	for _, bus := range buses {
		with := []string{bus}
		switch bus {
		case "of":
			with = []string{"platform", "i2c"}
		case "mdio":
			with = []string{"mdio_bus"}
		}
		for _, name := range with {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// phyAlias is the alias of a PHY, by its phy_id ("0x001cc916"): the bits of it, the
// highest first (MDIO_ID_FMT in include/linux/mod_devicetable.h). Empty: it has none.
func phyAlias(id string) string {
	n, err := strconv.ParseUint(strings.TrimSpace(id), 0, 32)
	if err != nil || n == 0 {
		return ""
	}
	return fmt.Sprintf("mdio:%032b", n)
}
