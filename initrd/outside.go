package initrd

import (
	"fmt"
	"maps"
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

// readImports reads which symbols the modules outside kernel/ ask for, as far as
// they can be read.
func readImports(t *tree, k *kernel) {
	k.imports = make(map[string]map[string]bool)
	k.unread = make(map[string]error)
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range k.order {
		if !isOutside(k.files[name]) {
			continue
		}
		g.Go(func() error {
			m := newModuleFile(k, name, unpacked)
			f, err := m.read(t)
			var symbols map[string]bool
			if err == nil {
				if symbols, err = imports(f); err != nil {
					err = m.broken(t, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				k.unread[name] = err
			} else {
				k.imports[name] = symbols
			}
			return nil
		})
	}
	_ = g.Wait()
}

// checkUnread tells modules from elsewhere that cannot be read from those that
// the image wants: one that took the place of a driver of one of the sets is an
// error, another a warning. Those that are wanted for other reasons are read again.
func (k *kernel) checkUnread(names []string) (warnings []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(k.unread)) {
		for _, s := range names {
			if sets[s].has(name, k.own[name]) {
				return nil, fmt.Errorf("%w; it replaces the kernel's own driver %s", k.unread[name], k.own[name])
			}
		}
		warnings = append(warnings, fmt.Sprintf("kernel %s: %v: it is left out; if it is the driver of a network card, that card will not work", k.release, k.unread[name]))
	}
	return warnings, nil
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
