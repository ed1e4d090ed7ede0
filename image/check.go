package image

import (
	"errors"
	"fmt"
	"slices"
)

// Bounds of what is written: over them is no kernel, but a broken list of
// modules. Debian's largest kernel has some 4,500.
const (
	// MaxModules is how many modules a manifest may list.
	MaxModules = 1 << 14
	// MaxNeeds is how many others one module may need.
	MaxNeeds = 1 << 12
	// maxName is the kernel's own limit for the name of a module
	// (MODULE_NAME_LEN in include/linux/moduleparam.h, less the ending NUL).
	maxName = 55
	// maxLine is the longest line that is written or read, in bytes.
	maxLine = 1 << 20
)

// CheckName refuses what a manifest, where blanks, commas and lines divide,
// could not hold as the name of a release or a module. All are of ASCII.
func CheckName(name string) error {
	if name == "" {
		return errors.New("is empty")
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == ',' || c == '/' {
			return errors.New("has a blank, a comma, a slash or a character outside ASCII in it")
		}
	}
	return nil
}

// CheckModuleName is CheckName for a module, whose name may not be longer than
// the kernel's limit.
func CheckModuleName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("is longer than %d bytes", maxName)
	}
	return CheckName(name)
}

// CheckPattern refuses what a manifest could not hold as the pattern of an
// alias: it is ASCII without a blank.
func CheckPattern(pattern string) error {
	if pattern == "" {
		return errors.New("is empty")
	}
	for i := range len(pattern) {
		if c := pattern[i]; c <= ' ' || c > '~' {
			return errors.New("has a blank or a character outside ASCII in it")
		}
	}
	return nil
}

// CheckParams refuses a text of parameters that would end its line.
func CheckParams(params string) error {
	for i := range len(params) {
		if c := params[i]; c < ' ' || c == 0x7f {
			return errors.New("has a control character in it")
		}
	}
	return nil
}

// check refuses a manifest that would not be read back as it is, or whose
// modules could not be loaded in its order: names twice or of no module, a module
// before one that it needs. What is to be loaded after a module may lead round in
// a circle.
func (m *Manifest) check() error {
	if len(m.Modules) > MaxModules {
		return fmt.Errorf("%d modules, more than %d", len(m.Modules), MaxModules)
	}
	if m.Kernel != "" {
		if err := CheckName(m.Kernel); err != nil {
			return fmt.Errorf("kernel release %q %w", m.Kernel, err)
		}
	}
	for _, name := range m.Profiles {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("profile %q %w", name, err)
		}
	}
	for _, name := range m.Builtin {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("builtin module %q %w", name, err)
		}
	}
	listed := make(map[string]bool, len(m.Modules))
	for _, mod := range m.Modules {
		if err := mod.check(listed); err != nil {
			return err
		}
		listed[mod.Name] = true
	}
	for _, mod := range m.Modules {
		if name, ok := unlisted(mod.After, listed); ok {
			return fmt.Errorf("module %s after=: module %q is not listed", mod.Name, name)
		}
	}
	if name, ok := unlisted(m.First, listed); ok {
		return fmt.Errorf("first: module %q is not listed", name)
	}
	if name, ok := unlisted(m.Load, listed); ok {
		return fmt.Errorf("load: module %q is not listed", name)
	}
	if name, ok := unlisted(m.Disks, listed); ok {
		return fmt.Errorf("disk: module %q is not listed", name)
	}
	if name, ok := unlisted(m.USBHosts, listed); ok {
		return fmt.Errorf("usb: module %q is not listed", name)
	}
	for _, a := range m.Aliases {
		if err := CheckPattern(a.Pattern); err != nil {
			return fmt.Errorf("alias %q of module %s %w", a.Pattern, a.Module, err)
		}
		if !listed[a.Module] {
			return fmt.Errorf("alias %s: module %q is not listed", a.Pattern, a.Module)
		}
	}
	return nil
}

// check refuses a module that does not fit behind those that are listed before
// it.
func (mod *Module) check(listed map[string]bool) error {
	if err := CheckModuleName(mod.Name); err != nil {
		return fmt.Errorf("module %q %w", mod.Name, err)
	}
	if listed[mod.Name] {
		return fmt.Errorf("module %s is listed twice", mod.Name)
	}
	if n := len(mod.Needs) + len(mod.Before); n > MaxNeeds {
		return fmt.Errorf("module %s needs %d others, more than %d", mod.Name, n, MaxNeeds)
	}
	for _, need := range mod.Needs {
		if !listed[need] {
			return fmt.Errorf("module %s needs %q, which is not listed before it", mod.Name, need)
		}
	}
	if name, ok := unlisted(mod.Before, listed); ok {
		return fmt.Errorf("module %s before=: module %q is not listed before it", mod.Name, name)
	}
	if slices.Contains(mod.After, mod.Name) {
		return fmt.Errorf("module %s is to be loaded after itself", mod.Name)
	}
	if err := CheckParams(mod.Params); err != nil {
		return fmt.Errorf("parameters of module %s: %q %w", mod.Name, mod.Params, err)
	}
	return nil
}

// unlisted gives the first of the names that is not listed.
func unlisted(names []string, listed map[string]bool) (name string, ok bool) {
	i := slices.IndexFunc(names, func(name string) bool { return !listed[name] })
	if i < 0 {
		return "", false
	}
	return names[i], true
}
