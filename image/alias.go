package image

import (
	"path"
	"slices"
	"strings"
)

// An AliasIndex finds the modules for a device, by aliases as modules.alias has
// them.
type AliasIndex struct {
	buses []string
	byBus map[string][]Alias
}

// NewAliasIndex indexes aliases by their bus: "pci" for "pci:v00001AF4d…". Those
// without a bus are left out.
func NewAliasIndex(aliases []Alias) *AliasIndex {
	x := &AliasIndex{byBus: make(map[string][]Alias)}
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

// Buses are those for which there are aliases. A bus has the same name in an alias
// and in sysfs.
func (x *AliasIndex) Buses() []string { return x.buses }

// Match returns the modules for a device, in the order of the aliases.
func (x *AliasIndex) Match(modalias string) []string {
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
		if err == nil && ok && !slices.Contains(names, a.Module) {
			names = append(names, a.Module)
		}
	}
	return names
}
