package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// A Generator is a program that makes initrds.
type Generator string

// Those that Check tells apart. Of images of others it reads what is common.
const (
	Sidusboot      Generator = "sidusboot"
	InitramfsTools Generator = "initramfs-tools"
	Dracut         Generator = "dracut"
	Booster        Generator = "booster"
	OtherGenerator Generator = "another generator"
)

// remedy says how to get a module into an image.
func (g Generator) remedy(module string) string {
	switch g {
	case InitramfsTools:
		return fmt.Sprintf("add a line %s to /etc/initramfs-tools/modules and run update-initramfs -u", module)
	case Dracut:
		return fmt.Sprintf(`write add_drivers+=" %s " into a file in /etc/dracut.conf.d and run dracut --force`, module)
	case Booster:
		return fmt.Sprintf("add %s to modules: in /etc/booster.yaml and build the image again", module)
	}
	return fmt.Sprintf("build the image again with the module %s", module)
}

// imageFacts are what an image says about its kernels.
type imageFacts struct {
	generator Generator
	hasInit   bool
	kernels   map[string]*kernelFacts
}

// kernelFacts are what an image or a tree says about the modules of one kernel.
type kernelFacts struct {
	release string
	// files has the path of each module.
	files    map[string]string
	deps     map[string][]string
	aliases  []image.Alias
	builtin  map[string]bool
	manifest *image.Manifest // Of an image of ours; nil otherwise.
	// ownAliases says that /init loads drivers by aliases alone, and by no others of the
	// kernel's. force are modules that it loads in any case.
	ownAliases bool
	force      []string
}

// inspect reads an image.
func inspect(img io.Reader) (*imageFacts, error) {
	facts := &imageFacts{generator: OtherGenerator, kernels: make(map[string]*kernelFacts)}
	texts := make(map[string]map[string]string) // By release and name.
	var booster boosterConfig
	r := NewReader(img)
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(f.Path, "usr/")
		text := func() string {
			if err != nil {
				return ""
			}
			var b bytes.Buffer
			_, err = io.Copy(&b, io.LimitReader(r, maxFile))
			return b.String()
		}
		switch {
		case f.Path == "init":
			facts.hasInit = true
		case name == "etc/initrd-release" && f.Mode.IsRegular():
			if strings.Contains(text(), "ID=sidusboot\n") {
				facts.generator = Sidusboot
			}
		case name == "conf/initramfs.conf":
			facts.generator = InitramfsTools
		case strings.HasPrefix(name, "lib/dracut/"):
			facts.generator = Dracut
		case f.Path == "etc/booster.init.yaml":
			facts.generator = Booster
			booster = parseBooster(text())
		case strings.HasPrefix(name, "lib/modules/"):
			release, file, ok := strings.Cut(strings.TrimPrefix(name, "lib/modules/"), "/")
			if !ok {
				// Booster has one kernel, and no directory for it.
				release, file = "", release
			}
			if f.Mode.IsDir() && !ok {
				continue
			}
			if texts[release] == nil {
				texts[release] = make(map[string]string)
				facts.kernels[release] = &kernelFacts{release: release, files: make(map[string]string)}
			}
			if module := moduleName(file); module != "" {
				facts.kernels[release].files[module] = file
			} else if f.Mode.IsRegular() && slices.Contains(kernelTexts, file) {
				texts[release][file] = text()
			}
		}
		if err != nil {
			return nil, err
		}
	}
	// Of a kernel without a directory only booster says which one it is.
	single, singleTexts := facts.kernels[""], texts[""]
	delete(facts.kernels, "")
	for release, k := range facts.kernels {
		if err := k.read(texts[release]); err != nil {
			return nil, fmt.Errorf("kernel %s: %w", release, err)
		}
	}
	if single != nil && len(single.files) > 0 && facts.generator == Booster && booster.release != "" {
		if err := single.read(nil); err != nil {
			return nil, err
		}
		single.takeBooster(booster, singleTexts[boosterAliases])
		facts.kernels[booster.release] = single
	}
	return facts, nil
}

// kernelTexts are the files of a kernel that are read.
var kernelTexts = []string{
	path.Base(image.ManifestPath("")), "modules.dep", "modules.alias", "modules.builtin", "modules.builtin.modinfo", boosterAliases,
}

// read reads what an image has of the kernelTexts.
func (k *kernelFacts) read(texts map[string]string) error {
	k.builtin, k.deps = make(map[string]bool), make(map[string][]string)
	if text, ok := texts[kernelTexts[0]]; ok {
		m, err := image.ReadManifest(strings.NewReader(text))
		if err != nil {
			return err
		}
		k.manifest, k.aliases, k.force, k.ownAliases = m, m.Aliases, m.Load, true
		for _, mod := range m.Modules {
			k.deps[mod.Name] = mod.Needs
		}
		for _, name := range m.Builtin {
			k.builtin[name] = true
		}
		return nil
	}
	var dep kernel
	dep.release = k.release
	dep.parseDep(texts["modules.dep"])
	k.deps = dep.deps
	k.aliases = spellOut(parseAliases(texts["modules.alias"]))
	k.readBuiltin(texts["modules.builtin"], texts["modules.builtin.modinfo"])
	return nil
}

// readBuiltin reads which modules are built in, and their aliases.
func (k *kernelFacts) readBuiltin(list, modinfo string) {
	for _, name := range parseBuiltin(list) {
		k.builtin[name] = true
	}
	for field := range strings.SplitSeq(modinfo, "\x00") {
		name, pattern, ok := strings.Cut(field, ".alias=")
		if ok && image.CheckPattern(pattern) == nil {
			name = image.CanonicalName(name)
			k.builtin[name] = true
			k.aliases = append(k.aliases, spellOut([]image.Alias{{Pattern: pattern, Module: name}})...)
		}
	}
}

// inspectTree reads what a tree has of a kernel.
func inspectTree(t *tree, release string) (*kernelFacts, error) {
	k, err := readKernel(t, release)
	if err != nil {
		return nil, err
	}
	return inspectKernel(t, k)
}

// inspectKernel is inspectTree for a kernel that has been read.
func inspectKernel(t *tree, k *kernel) (*kernelFacts, error) {
	facts := &kernelFacts{release: k.release, files: k.files, deps: k.deps, aliases: spellOut(k.aliases), builtin: make(map[string]bool)}
	maps.Copy(facts.builtin, k.isBuiltin)
	modinfo, err := readOptional(t, path.Join(modulesDir, k.release, "modules.builtin.modinfo"))
	facts.readBuiltin("", modinfo)
	return facts, err
}

// missing gives the modules that a module needs and that are neither in the image
// nor built in, itself first; deps are those of a tree or of the image.
func (k *kernelFacts) missing(module string, deps map[string][]string) []string {
	var names []string
	for _, name := range append([]string{module}, deps[module]...) {
		if k.files[name] == "" && !k.builtin[name] {
			names = append(names, name)
		}
	}
	return names
}
