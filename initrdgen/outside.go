package main

import (
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// What DKMS and vendors install lies outside kernel/, in updates/, extra/ or
// weak-updates/, often flat, and takes the place of the kernel's own driver in
// modules.dep. Its folder says nothing, so the module is asked: whoever makes
// an Ethernet device asks the kernel for alloc_etherdev_mqs, or leaves that to
// usbnet.

// isOutside tells whether the file of a module lies outside kernel/.
func isOutside(file string) bool { return !strings.HasPrefix(file, "kernel/") }

// readImports reads which symbols the modules outside kernel/ ask for.
func readImports(t *tree, k *kernel) error {
	k.imports = make(map[string]map[string]bool)
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range k.order {
		if !isOutside(k.files[name]) {
			continue
		}
		g.Go(func() error {
			m := newModuleFile(k, name)
			f, err := m.read(t)
			if err != nil {
				return err
			}
			symbols, err := imports(f)
			if err != nil {
				return m.broken(t, err)
			}
			mu.Lock()
			defer mu.Unlock()
			k.imports[name] = symbols
			return nil
		})
	}
	return g.Wait()
}

// networkDrivers gives the modules outside kernel/ that ask for one of the
// symbols and drive wired devices, themselves or together with others outside
// kernel/ that they need: mlx4_en makes the interfaces of what mlx4_core drives.
func (k *kernel) networkDrivers(symbols []string) []string {
	var names []string
	for _, name := range k.order {
		imports := k.imports[name]
		if isWireless(imports) || !slices.ContainsFunc(symbols, func(s string) bool { return imports[s] }) {
			continue
		}
		var drivers []string
		for _, part := range append([]string{name}, k.deps[name]...) {
			if isOutside(k.files[part]) && k.hasDevices[part] {
				drivers = append(drivers, part)
			}
		}
		if len(drivers) > 0 {
			names = append(append(names, name), drivers...)
		}
	}
	return names
}

func isWireless(imports map[string]bool) bool {
	for symbol := range imports {
		for _, prefix := range []string{"cfg80211_", "ieee80211_", "lib80211_", "wiphy_", "wireless_send_event"} {
			if strings.HasPrefix(symbol, prefix) {
				return true
			}
		}
	}
	return false
}
