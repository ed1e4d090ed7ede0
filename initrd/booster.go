package initrd

import (
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// Booster's images have one kernel, whose modules are usr/lib/modules/NAME.ko, without
// a directory of their own and without depmod's files. Its /init reads instead
// booster.alias there, with lines PATTERN MODULE, and etc/booster.init.yaml (booster's
// generator/generator.go, appendInitConfig).

// boosterAliases is the name of the file with the aliases.
const boosterAliases = "booster.alias"

// boosterConfig is what etc/booster.init.yaml says about the kernel.
type boosterConfig struct {
	release string
	// deps are the modules that each needs, builtin those that the kernel has in itself,
	// force those that are loaded on every node.
	deps    map[string][]string
	builtin []string
	force   []string
}

// parseBooster reads booster's configuration, as gopkg.in/yaml.v3 writes it: no key is on
// the line of another, and what belongs to a key is indented. Other keys are skipped.
func parseBooster(text string) boosterConfig {
	c := boosterConfig{deps: make(map[string][]string)}
	section, module := "", ""
	for line := range strings.Lines(text) {
		indented := strings.HasPrefix(line, " ")
		line = strings.TrimSpace(line)
		item, isItem := strings.CutPrefix(line, "- ")
		key, value, _ := strings.Cut(line, ":")
		key, value, item = unquote(key), unquote(value), image.CanonicalName(unquote(item))
		switch {
		// A list may begin in the column of its key.
		case isItem && section == "modulesforceload":
			c.force = append(c.force, item)
		case isItem && section == "moduledependencies" && module != "":
			c.deps[module] = append(c.deps[module], item)
		case isItem:
		case !indented:
			section, module = key, ""
			if key == "kernel" {
				c.release = value
			}
		case section == "moduledependencies":
			module = image.CanonicalName(key)
		case section == "builtinmodules" && value == "true":
			c.builtin = append(c.builtin, image.CanonicalName(key))
		}
	}
	return c
}

// unquote is a plain or a quoted value of YAML that has nothing to be escaped.
func unquote(text string) string { return strings.Trim(strings.TrimSpace(text), `"'`) }

// takeBooster takes what booster's configuration says, and the content of booster.alias.
func (k *kernelFacts) takeBooster(c boosterConfig, aliases string) {
	k.release, k.deps, k.force, k.ownAliases = c.release, c.deps, c.force, true
	for _, name := range c.builtin {
		k.builtin[name] = true
	}
	for line := range strings.Lines(aliases) {
		k.aliases = append(k.aliases, spellOut(parseAliases("alias "+line))...)
	}
}
