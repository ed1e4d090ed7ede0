package initrd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// A host is a node, or several, whose devices are known.
type host struct {
	file    string
	devices []string
}

const hostPrefix = "host="

// hostFiles are the files that the profiles name.
func hostFiles(asked []string) []string {
	var files []string
	for _, name := range asked {
		if file, ok := strings.CutPrefix(name, hostPrefix); ok {
			files = append(files, file)
		}
	}
	return files
}

// readHost reads the file of a host= that was asked for.
func readHost(file string) (host, error) {
	const remedy = "give a file with the devices of a node: one modalias on each line, or its /run/sidusboot/boot.json"
	if file == "" || file == "FILE" {
		return host{}, InvalidOptionf("Profiles", "%s%s has no file: %s", hostPrefix, file, remedy)
	}
	f, err := OpenFile(file)
	if err != nil {
		return host{}, OptionErrorf("Profiles", "%s%w: %s", hostPrefix, err, remedyFor(err, remedy))
	}
	defer f.Close()
	devices, err := ReadDevices(f)
	if err != nil {
		return host{}, OptionErrorf("Profiles", "%s%s: %w", hostPrefix, file, err)
	}
	return host{file, devices}, nil
}

// hostsOf gives the nodes of the profiles.
func hostsOf(chosen []Profile) []host {
	var hosts []host
	for _, p := range chosen {
		hosts = append(hosts, p.hosts...)
	}
	return hosts
}

// nicSets have the drivers of network cards, of the buses between them and the
// processor, and of the chips that they need, such as PHYs.
var nicSets = []string{"ethernet", "phy", "virtio", "virtual", "usb", "board"}

// hostSet is the set of the modules that nodes need for their network cards. A
// node that has no card with a driver is an error. For a card without a driver, where
// the node has another card, there is a warning.
func hostSet(t *tree, k *kernel, hosts []host) (s set, warnings []string, err error) {
	known, err := inspectKernel(t, k)
	if err != nil {
		return set{}, nil, err
	}
	index := image.NewAliasIndex(known.aliases)
	drivers := k.nicDrivers()
	k.hostDrivers = make(map[string][]string)
	s.devices = true
	for _, h := range hosts {
		found := findCards(h.devices, index, func(name string) string {
			if !drivers[name] && !known.builtin[name] {
				return ""
			}
			return cmp.Or(k.own[name], known.files[name], "built in")
		})
		if len(found.cards) == 0 {
			return set{}, nil, OptionErrorf("Profiles", "%s%s: kernel %s has no driver for a network card among its %d devices%s: check that the list has all devices of the node, or choose another kernel",
				hostPrefix, h.file, k.release, len(h.devices), listCards(found.without))
		}
		for _, card := range found.without {
			warnings = append(warnings, fmt.Sprintf("%s%s: kernel %s has no driver for the network card %s: the node cannot boot from this card", hostPrefix, h.file, k.release, card))
		}
		if len(found.cards) > 1 {
			found.modules = append(found.modules, "bonding")
		}
		names := slices.DeleteFunc(found.modules, func(name string) bool { return k.files[name] == "" })
		k.hostDrivers[h.file] = names
		s.modules = append(s.modules, names...)
	}
	return s, warnings, nil
}

// nicDrivers are the modules of nicSets, with those that took the place of one of
// them and cannot be read: the build ends with the error about them where they are needed.
func (k *kernel) nicDrivers() map[string]bool {
	drivers := make(map[string]bool)
	for _, name := range nicSets {
		for _, module := range sets[name].choose(k) {
			drivers[module] = true
		}
		for module := range k.unread {
			if sets[name].has(module, k.own[module]) {
				drivers[module] = true
			}
		}
	}
	return drivers
}

// The cards of a node.
type nodeCards struct {
	// cards are those with a driver, without those that have none, by their modalias.
	cards, without []string
	// modules are what the node needs for its cards, sorted.
	modules []string
}

// findCards finds the drivers of the network cards among devices. fileOf gives the
// file of a module that may be one, "" for any other. The driver of a
// bus is left out unless a card is on that bus: most nodes have USB, and virtio disks.
func findCards(devices []string, index *image.AliasIndex, fileOf func(module string) string) nodeCards {
	var found nodeCards
	behind := make(map[string][]string) // By bus.
	for _, modalias := range devices {
		card, driven := false, false
		for _, name := range index.Match(modalias) {
			file := fileOf(name)
			if file == "" {
				continue
			}
			driven = true
			bus := buses[name]
			if inUSBHosts(file) {
				bus = "usb"
			}
			if bus != "" {
				behind[bus] = append(behind[bus], name)
				continue
			}
			card = card || kindOf(modalias, name, file) == NIC
			found.modules = append(found.modules, name)
		}
		switch {
		case card:
			found.cards = append(found.cards, modalias)
		case !driven && kindOf(modalias, "", "") == NIC:
			found.without = append(found.without, modalias)
		}
	}
	for _, card := range found.cards {
		bus, _, _ := strings.Cut(card, ":")
		found.modules = append(found.modules, behind[bus]...)
	}
	slices.Sort(found.modules)
	found.modules = slices.Compact(found.modules)
	return found
}

// inUSBHosts tells whether a module is a driver of USB host controllers by its file.
func inUSBHosts(file string) bool {
	return set{}.inFolder(usbHosts, "", file)
}

// listCards names cards for a message.
func listCards(modaliases []string) string {
	if len(modaliases) == 0 {
		return ""
	}
	return fmt.Sprintf(" (not for %s)", someOf(modaliases))
}
