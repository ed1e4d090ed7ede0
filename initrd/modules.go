package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// A kernel is what depmod and modprobe.d of a tree say about the modules of
// one release. Names of modules are canonical throughout.
type kernel struct {
	release string
	// arch is what it runs on; zero: nothing says it.
	arch arch
	// tree is how the host calls the tree, for messages.
	tree   string
	config kernelConfig
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
	// problems are about lines and files that were skipped.
	problems []string
	// own is where the kernel's own modules lie that others have taken the place
	// of, by modules.order.
	own map[string]string
	// unread are modules from elsewhere that cannot be read.
	unread map[string]error
	// imports are the kernel symbols that modules from elsewhere ask for, see
	// readImports.
	imports map[string]map[string]bool
	// hostDrivers are the modules that each file of host= asks for.
	hostDrivers map[string][]string

	isBuiltin map[string]bool
	byAlias   map[string][]string
	// hasDevices tells which modules name devices that they drive.
	hasDevices map[string]bool
}

// A softdep lists modules to be loaded before and after another. They may be
// names or aliases, and nobody minds if there is no such module.
type softdep struct{ pre, post []string }

// readKernels reads the kernels that go into an image, as chooseKernels finds them. One
// image is for one architecture: it has one /init. a is that of the first kernel that says
// its own, and from the file that does.
func readKernels(t *tree, want string) (kernels []*kernel, a arch, from string, warnings []string, err error) {
	releases, warnings, err := chooseKernels(t, want)
	if err != nil {
		return nil, arch{}, "", nil, err
	}
	first := ""
	for _, release := range releases {
		k, err := readKernel(t, release)
		if err != nil {
			return nil, arch{}, "", nil, err
		}
		kernels = append(kernels, k)
		file := ""
		k.arch, file = findArch(t, k)
		switch {
		case k.arch == (arch{}):
		case first == "":
			a, from, first = k.arch, file, release
		case k.arch != a:
			return nil, arch{}, "", nil, OptionErrorf("Kernel", "%s is for %v (%s), but %s is for %v (%s): choose one of them, because an image has one /init",
				first, a, from, release, k.arch, file)
		}
	}
	return kernels, a, from, warnings, nil
}

// readKernel reads what the tree knows about the modules of a release.
func readKernel(t *tree, release string) (*kernel, error) {
	k := &kernel{release: release, tree: t.dir, config: readKernelConfig(t, release), soft: make(map[string]softdep)}
	dir := path.Join(modulesDir, release)

	dep, err := t.readFile(path.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	k.parseDep(string(dep))
	if len(k.order) > image.MaxModules {
		return nil, fmt.Errorf("%s: it lists %d modules, more than any kernel has: run depmod -b %s %s", t.path(path.Join(dir, "modules.dep")), len(k.order), t.dir, release)
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
	k.builtin = slices.DeleteFunc(parseBuiltin(builtin), func(name string) bool {
		err := image.CheckName(name)
		if err != nil {
			k.problem("modules.builtin: module %q %v", name, err)
		}
		return err != nil
	})

	soft, err := readOptional(t, path.Join(dir, "modules.softdep"))
	if err != nil {
		return nil, err
	}
	parseSoftdeps(k.soft, soft)
	weak, err := readOptional(t, path.Join(dir, "modules.weakdep"))
	if err != nil {
		return nil, err
	}
	parseSoftdeps(k.soft, weak)
	own, err := readOptional(t, path.Join(dir, "modules.order"))
	if err != nil {
		return nil, err
	}
	k.parseOrder(own)

	if k.conf, err = readModprobeConf(t); err != nil {
		return nil, err
	}
	parseSoftdeps(k.soft, k.conf.softdeps)
	k.problems = append(k.problems, k.conf.problems...)
	k.index()
	return k, nil
}

// maxProblems is how many are told of one kernel.
const maxProblems = 10

// problem notes what was skipped in a file of the kernel.
func (k *kernel) problem(format string, args ...any) {
	switch {
	case len(k.problems) > maxProblems:
		return
	case len(k.problems) == maxProblems:
		k.problems = append(k.problems, fmt.Sprintf("%s and the files beside it: more lines are skipped", k.fileOf("modules.dep")))
		return
	}
	k.problems = append(k.problems, fmt.Sprintf("%s: skipped: run depmod%s", k.fileOf(fmt.Sprintf(format, args...)), k.depmodWords()))
}

// fileOf is how the host calls a file in the kernel's folder, for messages.
func (k *kernel) fileOf(name string) string {
	return filepath.Join(k.tree, modulesDir, k.release) + "/" + name
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
	var broken []string
	for i, name := range k.order {
		if k.hard.broken[i] != nil {
			broken = append(broken, name)
		}
	}
	if n := len(broken); n > 0 {
		k.problem("modules.dep: %v; %s cannot be loaded", k.hard.broken[k.hard.id[broken[0]]], someOf(broken))
	}
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

// someOf gives the first of many names, for messages.
func someOf(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
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
// folder, dependencies nearest first. A line that is none is skipped, and so is a
// module whose name no image could hold.
func (k *kernel) parseDep(text string) {
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
		if _, packed, is := strings.Cut(path.Base(file), ".ko."); ok && name == "" && is {
			k.problem("modules.dep: %.80q is compressed as %.20q, which is not supported: supported are .xz, .zst and .gz", file, packed)
			continue
		}
		if !ok || name == "" {
			k.problem("modules.dep: line %d is not of the form MODULE: DEPENDENCIES: %.80q", number, line)
			continue
		}
		if err := image.CheckModuleName(name); err != nil {
			k.problem("modules.dep: module %.80q %v", name, err)
			continue
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
				need = dep // Which is not listed then.
			}
			k.deps[name] = append(k.deps[name], need)
		}
	}
}

// parseOrder reads modules.order, one path of the kernel's own modules a line,
// for those that come from elsewhere in modules.dep.
func (k *kernel) parseOrder(text string) {
	k.own = make(map[string]string)
	for line := range strings.Lines(text) {
		file := strings.TrimSpace(line)
		if name := moduleName(file); name != "" && isOutside(k.files[name]) {
			k.own[name] = file
		}
	}
}

// brokenModule is the error about one that modules.dep makes unusable.
func (k *kernel) brokenModule(name string, err error) error {
	return fmt.Errorf("%s: module %s cannot be loaded: %w: install the package that has it again, or remove it, and run depmod%s",
		k.fileOf("modules.dep"), name, err, k.depmodWords())
}

// depmodWords are the arguments of depmod for this kernel, for messages.
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
		if i <= 0 || image.CheckPattern(rest[:i]) != nil {
			continue // No device of the kernel's is called so.
		}
		aliases = append(aliases, image.Alias{Pattern: rest[:i], Module: image.CanonicalName(rest[i+1:])})
	}
	return aliases
}

// parseSoftdeps adds lines "softdep MODULE pre: A B post: C" to soft. Words
// before the first of pre: and post: mean nothing, as in libkmod. A line "weakdep
// MODULE A B" names modules that the kernel itself asks modprobe for when it needs
// them (kmod 33 and later); in an initrd, where it gets no answer, they are loaded
// before.
func parseSoftdeps(soft map[string]softdep, text string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "softdep" && words[0] != "weakdep" {
			continue
		}
		name := image.CanonicalName(words[1])
		dep := soft[name]
		var into *[]string
		if words[0] == "weakdep" {
			into = &dep.pre
		}
		for _, word := range words[2:] {
			switch {
			case word == "pre:" && words[0] == "softdep":
				into = &dep.pre
			case word == "post:" && words[0] == "softdep":
				into = &dep.post
			case into != nil:
				*into = append(*into, image.CanonicalName(word))
			}
		}
		soft[name] = dep
	}
}
