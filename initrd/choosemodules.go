package initrd

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// chooseModules chooses what of a kernel goes into the image: the profiles' modules,
// those asked for by name, and what they all need. Warnings are about drivers
// that no node will load.
func chooseModules(t *tree, k *kernel, chosen []Profile, extra []string) (m *image.Manifest, warnings []string, err error) {
	c := newCollector(k)
	var load []string
	drives := make(map[string]bool)
	for _, name := range extra {
		module := image.CanonicalName(name)
		if !k.has(module) {
			return nil, nil, OptionErrorf("Modules", "%s: kernel %s has no such module, neither in %s nor built in: check the spelling, or run depmod -b %s %s if it was added by hand",
				name, k.release, t.path(path.Join(modulesDir, k.release)), t.dir, k.release)
		}
		if k.files[module] != "" && !drives[module] {
			load = append(load, module)
		}
		drives[module] = true // Also if modprobe.d forbids it.
	}
	for _, p := range chosen {
		for _, module := range p.load {
			if k.files[module] != "" && !drives[module] {
				load = append(load, module)
				drives[module] = true
			}
		}
	}
	names, nodes := joinSets(chosen), hostsOf(chosen)
	if len(nodes) > 0 || slices.ContainsFunc(names, func(s string) bool { return sets[s].imports != nil }) {
		readImports(t, k)
		if warnings, err = k.checkUnread(names); err != nil {
			return nil, nil, err
		}
	}
	joined := make([]set, 0, len(names)+1)
	for _, name := range names {
		joined = append(joined, sets[name])
	}
	if len(nodes) > 0 {
		own, told, err := hostSet(t, k, nodes)
		if err != nil {
			return nil, nil, err
		}
		joined, warnings = append(joined, own), append(warnings, told...)
	}
	// By whether it is of a set of disks; virtio_pci is of both kinds.
	usb := make(map[string]bool)
	kinds := map[bool]map[string]bool{false: {}, true: {}}
	for _, s := range joined {
		for _, module := range s.choose(k) {
			if err := c.add(module); err != nil {
				return nil, nil, err
			}
			if s.inFolder(usbHosts, module, k.files[module]) {
				usb[module] = true
			}
			if s.devices {
				kinds[s.disks][module] = true
			}
			if !s.devices || drives[module] {
				continue
			}
			if file := k.conf.blacklist[module]; file == "" {
				drives[module] = true
			} else if k.hasDevices[module] {
				warnings = append(warnings, fmt.Sprintf("kernel %s: %s keeps %s, a driver of profile %s, from being loaded: nodes that need it will not load it; remove the line, or choose the module %s by name",
					k.release, file, module, joinNames(chosen), module))
			}
		}
	}
	for _, module := range load {
		if err := c.add(module); err != nil {
			return nil, nil, err
		}
	}
	var first []string
	for _, module := range k.signatureModules() {
		err := k.checkFiles(t, module)
		if err == nil {
			err = c.add(module)
		}
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("%s is left out, with which the kernel checks modules faster: %v", module, err))
			continue
		}
		first = append(first, module)
	}
	m = &image.Manifest{
		Kernel: k.release, Profiles: namesOf(chosen),
		Modules: c.collected(), First: first, Load: load, Builtin: k.builtin, Aliases: deviceAliases(k, drives),
	}
	if len(m.Aliases) == 0 && len(k.hasDevices) == 0 && len(drives) > 0 {
		return nil, nil, fmt.Errorf("%s has no aliases of devices, so a node would find no driver: run depmod%s", k.fileOf("modules.alias"), k.depmodWords())
	}
	for _, mod := range m.Modules {
		if kinds[true][mod.Name] && !kinds[false][mod.Name] {
			m.Disks = append(m.Disks, mod.Name)
		}
		if usb[mod.Name] {
			m.USBHosts = append(m.USBHosts, mod.Name)
		}
	}
	return m, append(warnings, c.warnings...), nil
}

// maxNamed is how many modules one alias may stand for in a soft dependency;
// crypto-aes stands for a handful.
const maxNamed = 64

// lookup gives the modules that a name or an alias stands for, none where it
// is built in or the kernel does not have it.
func (k *kernel) lookup(word string) []string {
	if k.isBuiltin[word] {
		return nil
	}
	if k.files[word] != "" {
		return []string{word}
	}
	named := k.byAlias[word]
	return slices.DeleteFunc(slices.Clone(named[:min(maxNamed, len(named))]), func(m string) bool { return k.files[m] == "" })
}

// optional tells whether a module is a faster variant for some processors, such
// as crc32c_intel. It fails to load on the others, so nothing may depend on
// it: it is loaded after the module that would like it, and the crypto API
// takes the fastest there is when the algorithm is first used.
func (k *kernel) optional(name string) bool {
	return strings.HasPrefix(k.files[name], "kernel/arch/")
}

// deviceAliases gives the lines of modules.alias by which /init finds the
// packed drivers, in the order of the file.
func deviceAliases(k *kernel, drives map[string]bool) []image.Alias {
	var aliases []image.Alias
	for _, a := range k.aliases {
		if drives[a.Module] && k.files[a.Module] != "" {
			aliases = append(aliases, a)
		}
	}
	return spellOut(aliases)
}

// spellOut leaves the aliases of devices, so that each begins with the name of
// its bus. What is asked for by name (fs-, net-pf-, crypto-) is left out.
func spellOut(aliases []image.Alias) []image.Alias {
	var spelled []image.Alias
	for _, a := range aliases {
		bus, rest, ok := strings.Cut(a.Pattern, ":")
		if !ok {
			continue
		}
		if bus == "acpi*" || bus == "dmi*" {
			// The star stands for other identifiers before this one.
			bus = strings.TrimSuffix(bus, "*")
			spelled = append(spelled, image.Alias{Pattern: bus + ":" + rest, Module: a.Module})
			rest = "*:" + rest
		}
		spelled = append(spelled, image.Alias{Pattern: bus + ":" + rest, Module: a.Module})
	}
	return spelled
}
