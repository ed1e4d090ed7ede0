package initrd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/sidusboot/sidusboot/image"
)

// A collector lists modules in the order in which they can be loaded: each after all that it
// depends on, by modules.dep (see harddeps.go), by softdep and weakdep lines, and by what
// the kernel asks modprobe for (see hiddendeps.go).
type collector struct {
	k       *kernel
	modules []image.Module
	// warnings are about dependencies that were left out.
	warnings []string
	state    map[string]state
	failed   map[string]error
	place    map[string]int // In modules.
	// current are those that add is collecting now; all has, for each that is done,
	// those that go before it, direct and indirect, needed or only asked for.
	// Numbers are those of k.hard.
	current bitset
	all     map[string]bitset
	queue   []queued
	steps   int // As in hardGraph.
	limit   int // Of steps.
}

// maxSteps ends what only lines that were made to do harm can ask for: all of
// Debian's modules take some hundred thousand.
const maxSteps = 1 << 28

// A queued module is collected because it is to be loaded after another.
type queued struct{ name, after string }

type state int

const (
	unseen state = iota
	underway
	done
)

func newCollector(k *kernel) *collector {
	return &collector{
		k: k, state: make(map[string]state), failed: make(map[string]error), place: make(map[string]int),
		current: newBitset(len(k.order)), all: make(map[string]bitset), limit: maxSteps,
	}
}

// add collects a module, and those that are to be loaded after it. One that is
// built in needs nothing. An error is about the module itself or one that it
// cannot be without; what it only asks for is left out with a warning.
func (c *collector) add(name string) error {
	err := c.collect(name)
	// In a list and not at once: what comes after a module may need another one
	// that is being collected just now.
	for len(c.queue) > 0 {
		l := c.queue[0]
		c.queue = c.queue[1:]
		c.steps++
		if err := c.collect(l.name); err != nil {
			c.warnf("%s asks for %s, which is left out: %v", l.after, l.name, err)
		}
	}
	if c.steps > c.limit {
		return fmt.Errorf("kernel %s: module %s: %w: look at the softdep and weakdep lines of modprobe.d and %s",
			c.k.release, name, errTooManySoft, c.k.fileOf("modules.softdep"))
	}
	return err
}

var errTooManySoft = errors.New("the soft dependencies (softdep, weakdep) ask for too many modules")

func (c *collector) collect(name string) error {
	if c.state[name] != unseen || c.k.files[name] == "" {
		return c.failed[name]
	}
	c.state[name] = underway
	hard, id := c.k.hard, c.k.hard.id[name]
	c.current.set(id)
	defer func() {
		c.current.clear(id)
		c.state[name] = done
	}()
	if c.steps > c.limit {
		c.failed[name] = errTooManySoft
		return errTooManySoft
	}
	if err := hard.broken[id]; err != nil {
		c.failed[name] = c.k.brokenModule(name, err)
		return c.failed[name]
	}

	all := newBitset(len(c.k.order))
	take := func(dep string) {
		if j := hard.id[dep]; !all.has(j) { // If it is there, so is all before it.
			all.add(c.all[dep])
			all.set(j)
			c.steps += len(all)
		}
	}
	before, after := c.softdeps(name)
	for _, dep := range before {
		c.steps += 1 + len(all)
		if j := hard.id[dep]; c.current.has(j) || c.current.meets(hard.needs[j]) {
			c.warnf("%s asks for %s before it, but %s has to come after it: a loop, so this softdep is ignored; correct one of the softdep lines", name, dep, dep)
			continue
		}
		if err := c.collect(dep); err != nil {
			c.warnf("%s asks for %s, which is left out: %v", name, dep, err)
			continue
		}
		take(dep)
	}
	// modules.dep has the nearest first, so the farthest can go in first.
	for _, dep := range slices.Backward(c.k.deps[name]) {
		c.steps++
		if err := c.collect(dep); err != nil {
			c.failed[name] = err
			return err
		}
	}
	needed := slices.Clone(c.k.deps[name])
	c.sortByPlace(needed)
	for _, dep := range slices.Backward(needed) { // The last has the most.
		c.steps++
		take(dep)
	}
	c.all[name] = all
	c.place[name] = len(c.modules)
	mod := image.Module{Name: name, After: after, Params: c.k.conf.params[name]}
	for _, j := range all.members() {
		c.steps++
		if hard.needs[id].has(j) {
			mod.Needs = append(mod.Needs, c.k.order[j])
		} else {
			mod.Before = append(mod.Before, c.k.order[j])
		}
	}
	c.sortByPlace(mod.Needs)
	c.sortByPlace(mod.Before)
	c.modules = append(c.modules, mod)
	for _, dep := range after {
		c.queue = append(c.queue, queued{dep, name})
	}
	return nil
}

func (c *collector) warnf(format string, args ...any) {
	if len(c.warnings) > maxProblems {
		return
	}
	if len(c.warnings) == maxProblems {
		c.warnings = append(c.warnings, fmt.Sprintf("kernel %s: further soft dependencies are left out", c.k.release))
		return
	}
	c.warnings = append(c.warnings, fmt.Sprintf("kernel %s: module %s", c.k.release, fmt.Sprintf(format, args...)))
}

func (c *collector) sortByPlace(names []string) {
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(c.place[a], c.place[b]) })
}

// collected gives the modules. What is to be loaded after a module never leads
// back to it: a loader need not mind circles.
func (c *collector) collected() []image.Module {
	states := make([]state, len(c.modules))
	var visit func(i int)
	visit = func(i int) {
		states[i] = underway
		mod := &c.modules[i]
		mod.After = slices.DeleteFunc(mod.After, func(dep string) bool {
			j, ok := c.place[dep]
			if ok && states[j] == underway {
				c.warnf("%s asks for %s after it, but %s has to come before it: a loop, so this softdep is ignored; correct one of the softdep lines", mod.Name, dep, dep)
				return true
			}
			return !ok // It was left out.
		})
		for _, dep := range mod.After {
			c.steps++
			if j := c.place[dep]; states[j] == unseen {
				visit(j)
			}
		}
		states[i] = done
	}
	for i := range c.modules {
		if states[i] == unseen {
			visit(i)
		}
	}
	return c.modules
}

// softdeps gives what should be loaded before and after a module, by its soft
// and hidden dependencies.
func (c *collector) softdeps(name string) (before, after []string) {
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
			case c.k.optional(dep), c.k.hard.needs[c.k.hard.id[dep]].has(c.k.hard.id[name]):
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
