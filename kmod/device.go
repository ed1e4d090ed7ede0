package kmod

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/image"
)

// LoadDevices loads the modules whose aliases match the devices in sysfs, and
// again for the devices that these bring to light (a virtio NIC appears with
// virtio_pci), until nothing new turns up. It returns what it loaded. A module
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
	index := newAliasIndex(l.manifest.Aliases, l.opts.Blacklist)
	seen := make(map[string]bool)
	tried := make(map[string]bool)
	for {
		var found []string
		for _, modalias := range modaliases(sysfs, index.buses) {
			if seen[modalias] {
				continue
			}
			seen[modalias] = true
			for _, name := range index.match(modalias) {
				if !tried[name] && !except(name) {
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
				// The driver looked and found nothing to drive.
			default:
				errs = append(errs, err)
			}
		}
	}
}

// An aliasIndex finds aliases by bus: "pci" for "pci:v00001AF4d…".
type aliasIndex struct {
	buses  []string
	byBus  map[string][]image.Alias
	banned map[string]bool
}

func newAliasIndex(aliases []image.Alias, blacklist map[string]bool) *aliasIndex {
	x := &aliasIndex{byBus: make(map[string][]image.Alias), banned: blacklist}
	for _, a := range aliases {
		bus, _, ok := strings.Cut(a.Pattern, ":")
		if !ok {
			continue
		}
		if x.byBus[bus] == nil {
			x.buses = append(x.buses, bus)
		}
		x.byBus[bus] = append(x.byBus[bus], a)
	}
	return x
}

func (x *aliasIndex) match(modalias string) []string {
	bus, _, _ := strings.Cut(modalias, ":")
	var names []string
	for _, a := range x.byBus[bus] {
		literal := strings.IndexAny(a.Pattern, "*?[")
		if literal < 0 {
			literal = len(a.Pattern)
		}
		if !strings.HasPrefix(modalias, a.Pattern[:literal]) {
			continue
		}
		ok, err := path.Match(a.Pattern, modalias)
		if err == nil && ok && !slices.Contains(names, a.Module) && !x.banned[a.Module] {
			names = append(names, a.Module)
		}
	}
	return names
}

// modaliases reads the modalias of every device on the buses. A bus is named
// alike in an alias and in sysfs.
func modaliases(sysfs string, buses []string) []string {
	var all []string
	for _, bus := range buses {
		dir := filepath.Join(sysfs, "bus", bus, "devices")
		devices, err := os.ReadDir(dir)
		if err != nil {
			continue // No such bus in this machine.
		}
		for _, d := range devices {
			text, err := os.ReadFile(filepath.Join(dir, d.Name(), "modalias"))
			if err == nil {
				all = append(all, strings.TrimSpace(string(text)))
			}
		}
	}
	return all
}
