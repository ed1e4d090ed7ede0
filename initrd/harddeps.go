package initrd

import (
	"cmp"
	"fmt"
	"slices"
)

// A hardGraph is what modules.dep says: which modules each needs, direct and
// indirect. Modules have the numbers of their lines.
type hardGraph struct {
	id    map[string]int
	needs []bitset
	// broken has an error for each module that cannot be loaded: one that it
	// needs is not listed, or needs it.
	broken []error
	// steps counts the dependencies looked at and the words of sets added.
	steps int
}

// newHardGraph closes over the dependencies. modules.dep lists the indirect ones
// too, but an administrator may have edited it.
func newHardGraph(order []string, deps map[string][]string) *hardGraph {
	g := &hardGraph{id: make(map[string]int, len(order)), needs: make([]bitset, len(order)), broken: make([]error, len(order))}
	for i, name := range order {
		g.id[name] = i
	}
	states := make([]state, len(order))
	ended := make([]int, len(order)) // When each was done.
	count := 0
	var visit func(i int)
	visit = func(i int) {
		states[i] = underway
		var direct []int
		for _, dep := range deps[order[i]] {
			g.steps++
			j, listed := g.id[dep]
			switch {
			case !listed:
				g.broken[i] = fmt.Errorf("%s needs %s, which is not listed", order[i], dep)
				continue
			case states[j] == unseen:
				visit(j)
			case states[j] == underway:
				g.broken[i] = fmt.Errorf("%s and %s need each other", order[i], dep)
				continue
			}
			if g.broken[j] != nil && g.broken[i] == nil {
				g.broken[i] = g.broken[j] // What is at the bottom of it.
			}
			direct = append(direct, j)
		}
		// The last one that was done has the most.
		slices.SortFunc(direct, func(a, b int) int { return cmp.Compare(ended[b], ended[a]) })
		needs := newBitset(len(order))
		for _, j := range direct {
			if needs.has(j) {
				continue // And so are those that it needs.
			}
			needs.add(g.needs[j])
			needs.set(j)
			g.steps += len(needs)
		}
		g.needs[i] = needs
		states[i] = done
		count++
		ended[i] = count
	}
	for i := range order {
		if states[i] == unseen {
			visit(i)
		}
	}
	return g
}
