package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// A kernel is what depmod and modprobe.d of a tree say about the modules of
// one release. Names of modules are canonical throughout.
type kernel struct {
	release string
	// tree is how the host calls the tree, for messages.
	tree string
	// files is the path of each module below lib/modules/RELEASE.
	files map[string]string
	// order has the modules as modules.dep lists them.
	order []string
	// deps are direct and indirect dependencies, nearest first.
	deps    map[string][]string
	hard    *hardGraph
	builtin []string
	// aliases are all of modules.alias, in its order; patterns as they are.
	aliases []image.Alias
	soft    map[string]softdep
	conf    modprobeConf
	// imports are the kernel symbols that modules from elsewhere ask for, see
	// readImports.
	imports map[string]map[string]bool

	isBuiltin map[string]bool
	byAlias   map[string][]string
	// hasDevices tells which modules name devices that they drive.
	hasDevices map[string]bool
}

// A softdep lists modules to be loaded before and after another. They may be
// names or aliases, and nobody minds if there is no such module.
type softdep struct{ pre, post []string }

// readKernel reads what the tree knows about the modules of a release.
func readKernel(t *tree, release string) (*kernel, error) {
	k := &kernel{release: release, tree: t.dir, soft: make(map[string]softdep)}
	dir := path.Join(modulesDir, release)

	dep, err := t.readFile(path.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	if err := k.parseDep(string(dep)); err != nil {
		return nil, fmt.Errorf("%s: %w", t.path(path.Join(dir, "modules.dep")), err)
	}
	alias, err := t.readFile(path.Join(dir, "modules.alias"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: run depmod -b %s %s", err, t.dir, release)
		}
		return nil, err
	}
	k.aliases = parseAliases(string(alias))

	builtin, err := readOptional(t, path.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	k.builtin = parseBuiltin(builtin)
	for _, name := range k.builtin {
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("%s: module %q %w: install the kernel package again", t.path(path.Join(dir, "modules.builtin")), name, err)
		}
	}

	soft, err := readOptional(t, path.Join(dir, "modules.softdep"))
	if err != nil {
		return nil, err
	}
	parseSoftdeps(k.soft, soft)

	if k.conf, err = readModprobeConf(t); err != nil {
		return nil, err
	}
	parseSoftdeps(k.soft, k.conf.softdeps)
	k.index()
	return k, nil
}

// readOptional reads a file that need not be there.
func readOptional(t *tree, name string) (string, error) {
	data, err := t.readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// index builds the maps that the lists are searched through.
func (k *kernel) index() {
	k.hard = newHardGraph(k.order, k.deps)
	k.isBuiltin = make(map[string]bool, len(k.builtin))
	for _, name := range k.builtin {
		k.isBuiltin[name] = true
	}
	k.byAlias = make(map[string][]string)
	k.hasDevices = make(map[string]bool)
	for _, a := range k.aliases {
		if strings.Contains(a.Pattern, ":") && !strings.HasPrefix(a.Pattern, "devname:") {
			k.hasDevices[a.Module] = true
		}
		if !strings.ContainsAny(a.Pattern, "*?[") {
			key := image.CanonicalName(a.Pattern)
			k.byAlias[key] = append(k.byAlias[key], a.Module)
		}
	}
}

// has tells whether the kernel has the module, as a file or built in.
func (k *kernel) has(name string) bool {
	return k.files[name] != "" || k.isBuiltin[name]
}

// moduleName is the canonical name of the module in a file, "" where the file
// is no module.
func moduleName(file string) string {
	base := path.Base(file)
	name, suffix, ok := strings.Cut(base, ".ko")
	if !ok || name == "" {
		return ""
	}
	switch suffix {
	case "", ".xz", ".zst", ".gz":
		return image.CanonicalName(name)
	}
	return ""
}

// parseDep reads modules.dep: "path: path path", each below the release's
// folder, dependencies nearest first.
func (k *kernel) parseDep(text string) error {
	k.files = make(map[string]string)
	k.deps = make(map[string][]string)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		file, rest, ok := strings.Cut(line, ":")
		name := moduleName(file)
		if !ok || name == "" {
			return fmt.Errorf("line %d is no dependency: %q: run depmod again", number, line)
		}
		if err := checkName(name); err != nil {
			return fmt.Errorf("line %d: module %q %w: rename the file and run depmod again", number, name, err)
		}
		if k.files[name] != "" {
			continue // As modprobe has it: the first one counts.
		}
		// An old depmod writes absolute paths.
		file = strings.TrimPrefix(file, path.Join("/", modulesDir, k.release)+"/")
		k.files[name] = path.Clean("/" + file)[1:]
		k.order = append(k.order, name)
		for dep := range strings.FieldsSeq(rest) {
			need := moduleName(dep)
			if need == "" {
				return fmt.Errorf("line %d: %q is no module: run depmod again", number, dep)
			}
			k.deps[name] = append(k.deps[name], need)
		}
	}
	return nil
}

// depmodWords are the words of depmod for this kernel, for messages.
func (k *kernel) depmodWords() string {
	if k.tree == "" {
		return ""
	}
	return fmt.Sprintf(" -b %s %s", k.tree, k.release)
}

// parseBuiltin reads modules.builtin: one path a line.
func parseBuiltin(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if name := moduleName(strings.TrimSpace(line)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// parseAliases reads modules.alias: "alias PATTERN MODULE". Other lines are
// skipped, as modprobe does.
func parseAliases(text string) []image.Alias {
	aliases := make([]image.Alias, 0, strings.Count(text, "\n"))
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "alias ")
		if !ok {
			continue
		}
		// The name is the last word: a careless pattern may contain a blank.
		i := strings.LastIndexByte(rest, ' ')
		if i <= 0 || strings.ContainsAny(rest[:i], " \t") {
			continue
		}
		aliases = append(aliases, image.Alias{Pattern: rest[:i], Module: image.CanonicalName(rest[i+1:])})
	}
	return aliases
}

// parseSoftdeps adds lines "softdep MODULE pre: A B post: C" to soft. Words
// before the first of pre: and post: mean nothing, as in libkmod.
func parseSoftdeps(soft map[string]softdep, text string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "softdep" {
			continue
		}
		name := image.CanonicalName(words[1])
		dep := soft[name]
		var into *[]string
		for _, word := range words[2:] {
			switch {
			case word == "pre:":
				into = &dep.pre
			case word == "post:":
				into = &dep.post
			case into != nil:
				*into = append(*into, image.CanonicalName(word))
			}
		}
		soft[name] = dep
	}
}
