package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// plan chooses what of a kernel goes into the image: the profiles' modules,
// those asked for by name, and what they all need. Warnings are about drivers
// that no node will load.
func plan(t *tree, k *kernel, chosen []profile, extra []string) (m *image.Manifest, warnings []string, err error) {
	c := newCloser(k)
	var load []string
	drives := make(map[string]bool)
	for _, name := range extra {
		module := image.CanonicalName(name)
		if !k.has(module) {
			return nil, nil, fmt.Errorf("--module %s: kernel %s has no such module, neither in %s nor built in: mind the spelling, or run depmod -b %s %s if it was added by hand",
				name, k.release, t.path(path.Join(modulesDir, k.release)), t.dir, k.release)
		}
		if k.files[module] != "" && !drives[module] {
			load = append(load, module)
		}
		drives[module] = true // In spite of modprobe.d.
	}
	names := joinSets(chosen)
	if slices.ContainsFunc(names, func(s string) bool { return sets[s].imports != nil }) {
		if err := readImports(t, k); err != nil {
			return nil, nil, err
		}
	}
	// By whether it is of a set of disks; virtio_pci is of both kinds.
	kinds := map[bool]map[string]bool{false: {}, true: {}}
	for _, name := range names {
		s := sets[name]
		for _, module := range s.choose(k) {
			if err := c.add(module); err != nil {
				return nil, nil, err
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
				warnings = append(warnings, fmt.Sprintf("kernel %s: %s forbids %s, a driver of profile %s: nodes that need it will not find it; remove the line, or add --module %s",
					k.release, file, module, joinNames(chosen), module))
			}
		}
	}
	for _, module := range load {
		if err := c.add(module); err != nil {
			return nil, nil, err
		}
	}
	m = &image.Manifest{
		Kernel: k.release, Profile: joinNames(chosen),
		Modules: c.modules, Load: load, Builtin: k.builtin, Aliases: deviceAliases(k, drives),
	}
	for _, mod := range c.modules {
		if kinds[true][mod.Name] && !kinds[false][mod.Name] {
			m.Disks = append(m.Disks, mod.Name)
		}
	}
	return m, warnings, nil
}

// A closer collects modules with all that they need, each behind its needs.
type closer struct {
	k       *kernel
	modules []image.Module
	state   map[string]state
	needs   map[string][]string
}

type state int

const (
	unseen state = iota
	underway
	done
)

func newCloser(k *kernel) *closer {
	return &closer{k: k, state: make(map[string]state), needs: make(map[string][]string)}
}

// add collects a module. One that is built in needs nothing.
func (c *closer) add(name string) error {
	if c.state[name] != unseen || c.k.files[name] == "" {
		return nil
	}
	c.state[name] = underway

	before, after := c.softdeps(name)
	for _, dep := range before {
		if err := c.add(dep); err != nil {
			return err
		}
	}
	// A soft dependency that leads back here is dropped, as modprobe does.
	before = slices.DeleteFunc(before, func(dep string) bool { return c.state[dep] == underway })
	// modules.dep has the nearest first, so the farthest can go in first.
	for i := len(c.k.deps[name]) - 1; i >= 0; i-- {
		dep := c.k.deps[name][i]
		if err := c.add(dep); err != nil {
			return err
		}
		if c.state[dep] == underway {
			return fmt.Errorf("modules %s and %s of kernel %s need each other: look for a loop of softdep lines in modprobe.d",
				name, dep, c.k.release)
		}
		before = append(before, dep)
	}
	var needs []string
	for _, dep := range before {
		for _, n := range append(slices.Clone(c.needs[dep]), dep) {
			if !slices.Contains(needs, n) {
				needs = append(needs, n)
			}
		}
	}
	c.needs[name] = needs
	c.state[name] = done
	c.modules = append(c.modules, image.Module{
		Name: name, Needs: needs, After: after, Params: c.k.conf.params[name],
	})
	for _, dep := range after {
		if err := c.add(dep); err != nil {
			return err
		}
	}
	return nil
}

// softdeps gives what should be loaded before and after a module, by its soft
// and hidden dependencies.
func (c *closer) softdeps(name string) (before, after []string) {
	soft := c.k.soft[name]
	pre, post := slices.Clone(soft.pre), slices.Clone(soft.post)
	for _, h := range hiddenDeps {
		if h.module == name {
			pre, post = append(pre, h.pre...), append(post, h.post...)
		}
	}
	for _, word := range pre {
		for _, dep := range c.k.lookup(word) {
			switch {
			case dep == name:
			case c.k.optional(dep), slices.Contains(c.k.deps[dep], name):
				after = append(after, dep)
			default:
				before = append(before, dep)
			}
		}
	}
	for _, word := range post {
		for _, dep := range c.k.lookup(word) {
			if dep != name {
				after = append(after, dep)
			}
		}
	}
	slices.Sort(after)
	return before, slices.Compact(after)
}

// lookup gives the modules that a name or an alias stands for, none where it
// is built in or the kernel does not have it.
func (k *kernel) lookup(word string) []string {
	if k.isBuiltin[word] {
		return nil
	}
	if k.files[word] != "" {
		return []string{word}
	}
	return slices.DeleteFunc(slices.Clone(k.byAlias[word]), func(m string) bool { return k.files[m] == "" })
}

// optional tells whether a module is a faster twin for some processors, such
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
		bus, rest, ok := strings.Cut(a.Pattern, ":")
		if !ok || !drives[a.Module] || k.files[a.Module] == "" {
			continue // fs-, net-pf- and crypto- are asked for by name.
		}
		if bus == "acpi*" || bus == "dmi*" {
			// The star stands for other identifiers before this one. Written
			// out, every alias starts with the name of its bus.
			bus = strings.TrimSuffix(bus, "*")
			aliases = append(aliases, image.Alias{Pattern: bus + ":" + rest, Module: a.Module})
			rest = "*:" + rest
		}
		aliases = append(aliases, image.Alias{Pattern: bus + ":" + rest, Module: a.Module})
	}
	return aliases
}
