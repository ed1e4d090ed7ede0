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
	byBus map[string][]indexed
}

// An indexed alias has what its pattern begins with, before anything that stands for
// several characters: few aliases of thousands begin as a device does, and the rest takes
// longer to compare.
type indexed struct {
	Alias
	literal string
}

// NewAliasIndex indexes aliases by their bus: "pci" for "pci:v00001AF4d…". Those
// without a bus are left out.
func NewAliasIndex(aliases []Alias) *AliasIndex {
	x := &AliasIndex{byBus: make(map[string][]indexed)}
	for _, a := range aliases {
		bus, _, ok := strings.Cut(a.Pattern, ":")
		if !ok {
			continue
		}
		if x.byBus[bus] == nil {
			x.buses = append(x.buses, bus)
		}
		literal := a.Pattern
		if i := strings.IndexAny(literal, "*?["); i >= 0 {
			literal = literal[:i]
		}
		x.byBus[bus] = append(x.byBus[bus], indexed{a, literal})
	}
	return x
}

// Buses are those for which there are aliases, by the name that the aliases begin with.
func (x *AliasIndex) Buses() []string { return x.buses }

// Match returns the modules for a device, in the order of the aliases.
func (x *AliasIndex) Match(modalias string) []string {
	bus, _, _ := strings.Cut(modalias, ":")
	var names []string
	for _, a := range x.byBus[bus] {
		if !strings.HasPrefix(modalias, a.literal) {
			continue
		}
		ok, err := path.Match(a.Pattern, modalias)
		if err == nil && ok && !slices.Contains(names, a.Module) {
			names = append(names, a.Module)
		}
	}
	return names
}
