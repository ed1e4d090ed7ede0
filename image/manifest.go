package image

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// manifestHeader is the first line of a manifest: the name and the version of
// the format. A reader refuses any other.
const manifestHeader = "sidusboot-manifest 1"

// A Manifest lists the modules of one kernel release in an image.
type Manifest struct {
	// Kernel is the release, as uname -r prints it.
	Kernel string
	// Profiles are what the image was built with.
	Profiles []string
	// Modules are in an order in which they could all be loaded.
	Modules []Module
	// First are modules to be loaded before all others, because with them the kernel
	// loads the others faster. The node boots without them too.
	First []string
	// Load are modules to be loaded at every boot, whatever devices there are,
	// in this order: those that were asked for by name.
	Load []string
	// Disks are the modules that drive disks and nothing else. A node without
	// use for a disk leaves them out.
	Disks []string
	// USBHosts are the modules that drive USB host controllers. A node whose NIC is
	// found without them leaves them to udev.
	USBHosts []string
	// Builtin are the names that this kernel has built in.
	Builtin []string
	// Aliases tell which module drives which device.
	Aliases []Alias
}

// A Module is one kernel module in the image.
type Module struct {
	// Name is canonical: underscores, no dashes.
	Name string
	// Needs are the names of the modules that must be loaded before this one,
	// direct and indirect, in loading order.
	Needs []string
	// Before are modules to be loaded before this one and its needs, in this
	// order, each with its own needs (softdep pre). One that does not load keeps
	// no other from loading.
	Before []string
	// After are modules to be loaded once this one is in (softdep post).
	After []string
	// Params is the text for finit_module, from the tree's modprobe.d.
	Params string
}

// An Alias is a line of modules.alias: devices whose modalias matches Pattern
// (fnmatch) are driven by Module.
type Alias struct {
	Pattern, Module string
}

// CanonicalName is a module's name as the kernel shows it in /proc/modules.
func CanonicalName(name string) string {
	return strings.ReplaceAll(name, "-", "_")
}

// Encode is m in the manifest format: one fact a line, fields separated by
// one space. It refuses what ReadManifest would not read back as it is. It is no
// io.WriterTo: the linker would keep that in /init, which only reads manifests.
func (m *Manifest) Encode() (string, error) {
	if err := m.check(); err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	var b strings.Builder
	fmt.Fprintln(&b, manifestHeader)
	fmt.Fprintln(&b, "kernel", m.Kernel)
	fmt.Fprintln(&b, "profile", strings.Join(m.Profiles, ","))
	for _, mod := range m.Modules {
		b.WriteString("module " + mod.Name)
		if len(mod.Needs) > 0 {
			b.WriteString(" needs=" + strings.Join(mod.Needs, ","))
		}
		if len(mod.Before) > 0 {
			b.WriteString(" before=" + strings.Join(mod.Before, ","))
		}
		if len(mod.After) > 0 {
			b.WriteString(" after=" + strings.Join(mod.After, ","))
		}
		if mod.Params != "" {
			b.WriteString(" params=" + mod.Params)
		}
		b.WriteByte('\n')
	}
	for _, name := range m.First {
		fmt.Fprintln(&b, "first", name)
	}
	for _, name := range m.Load {
		fmt.Fprintln(&b, "load", name)
	}
	for _, name := range m.Disks {
		fmt.Fprintln(&b, "disk", name)
	}
	for _, name := range m.USBHosts {
		fmt.Fprintln(&b, "usb", name)
	}
	for _, name := range m.Builtin {
		fmt.Fprintln(&b, "builtin", name)
	}
	for _, a := range m.Aliases {
		fmt.Fprintln(&b, "alias", a.Pattern, a.Module)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > maxLine {
			return "", fmt.Errorf("manifest: the line %.60q… has more than %d bytes", line, maxLine)
		}
	}
	return b.String(), nil
}

// ReadManifest reads what Encode wrote. A line of another form is an error that
// names the line, and so is a name that no module can have: a manifest is made by
// a program, not by hand. Whether the modules that are needed are there is not
// asked here: a node does without those that it has no use for.
func ReadManifest(r io.Reader) (*Manifest, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	if !s.Scan() || s.Text() != manifestHeader {
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		return nil, fmt.Errorf("manifest: first line is %q, want %q", s.Text(), manifestHeader)
	}
	m := &Manifest{}
	listed := make(map[string]bool)
	for line := 2; s.Scan(); line++ {
		if err := m.readLine(s.Text(), listed); err != nil {
			return nil, fmt.Errorf("manifest line %d: %w", line, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// readLine reads any line but the first. listed are the modules so far.
func (m *Manifest) readLine(text string, listed map[string]bool) error {
	kind, rest, _ := strings.Cut(text, " ")
	switch kind {
	case "kernel":
		m.Kernel = rest
		if rest == "" {
			return nil
		}
		return checkNames("kernel", rest)
	case "profile":
		if rest == "" {
			return nil
		}
		m.Profiles = strings.Split(rest, ",")
		return checkNames("profile", m.Profiles...)
	case "module":
		mod, err := readModule(rest)
		if err != nil {
			return err
		}
		if listed[mod.Name] {
			return fmt.Errorf("module %s is listed twice", mod.Name)
		}
		listed[mod.Name] = true
		m.Modules = append(m.Modules, mod)
	case "first":
		m.First = append(m.First, rest)
		return checkNames("first", rest)
	case "load":
		m.Load = append(m.Load, rest)
		return checkNames("load", rest)
	case "disk":
		m.Disks = append(m.Disks, rest)
		return checkNames("disk", rest)
	case "usb":
		m.USBHosts = append(m.USBHosts, rest)
		return checkNames("usb", rest)
	case "builtin":
		m.Builtin = append(m.Builtin, rest)
		return checkNames("builtin", rest)
	case "alias":
		pattern, name, _ := strings.Cut(rest, " ")
		m.Aliases = append(m.Aliases, Alias{Pattern: pattern, Module: name})
		if err := CheckPattern(pattern); err != nil {
			return fmt.Errorf("alias: pattern %q %w", pattern, err)
		}
		return checkNames("alias", name)
	default:
		return fmt.Errorf("unknown kind %q", kind)
	}
	return nil
}

func checkNames(kind string, names ...string) error {
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("%s: name %q %w", kind, name, err)
		}
	}
	return nil
}

// readModule reads the fields behind "module". The parameters come last,
// because they may contain blanks.
func readModule(s string) (Module, error) {
	s, params, _ := strings.Cut(s, " params=")
	words := strings.Split(s, " ")
	mod := Module{Name: words[0], Params: params}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "needs":
			mod.Needs = strings.Split(value, ",")
		case "before":
			mod.Before = strings.Split(value, ",")
		case "after":
			mod.After = strings.Split(value, ",")
		default:
			return Module{}, fmt.Errorf("module %s: unknown field %q", mod.Name, word)
		}
	}
	if err := checkNames("module", slices.Concat([]string{mod.Name}, mod.Needs, mod.Before, mod.After)...); err != nil {
		return Module{}, err
	}
	return mod, CheckParams(params)
}
