package image

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// manifestHeader is the first line of a manifest: the name and the version of
// the format. A reader refuses any other.
const manifestHeader = "sidusboot-manifest 1"

// A Manifest lists the modules of one kernel release in an image.
type Manifest struct {
	// Kernel is the release, as uname -r prints it.
	Kernel string
	// Profile is what the image was built with, as --profile takes it: names
	// with commas between them.
	Profile string
	// Modules are in an order in which they could all be loaded.
	Modules []Module
	// Load are modules to be loaded at every boot, whatever devices there are,
	// in this order: those that were asked for by name (--module).
	Load []string
	// Disks are the modules that drive disks and nothing else. A node without
	// use for a disk leaves them out.
	Disks []string
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

// WriteTo writes m in the manifest format: one fact a line, words separated by
// one blank.
func (m *Manifest) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintln(&b, manifestHeader)
	fmt.Fprintln(&b, "kernel", m.Kernel)
	fmt.Fprintln(&b, "profile", m.Profile)
	for _, mod := range m.Modules {
		b.WriteString("module " + mod.Name)
		if len(mod.Needs) > 0 {
			b.WriteString(" needs=" + strings.Join(mod.Needs, ","))
		}
		if len(mod.After) > 0 {
			b.WriteString(" after=" + strings.Join(mod.After, ","))
		}
		if mod.Params != "" {
			b.WriteString(" params=" + mod.Params)
		}
		b.WriteByte('\n')
	}
	for _, name := range m.Load {
		fmt.Fprintln(&b, "load", name)
	}
	for _, name := range m.Disks {
		fmt.Fprintln(&b, "disk", name)
	}
	for _, name := range m.Builtin {
		fmt.Fprintln(&b, "builtin", name)
	}
	for _, a := range m.Aliases {
		fmt.Fprintln(&b, "alias", a.Pattern, a.Module)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// ReadManifest reads what WriteTo wrote. A line that it cannot read is an
// error that names the line: a manifest is made by a program, not by hand.
func ReadManifest(r io.Reader) (*Manifest, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), 1<<20)
	if !s.Scan() || s.Text() != manifestHeader {
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		return nil, fmt.Errorf("manifest: first line is %q, want %q", s.Text(), manifestHeader)
	}
	m := &Manifest{}
	for line := 2; s.Scan(); line++ {
		kind, rest, _ := strings.Cut(s.Text(), " ")
		switch kind {
		case "kernel":
			m.Kernel = rest
		case "profile":
			m.Profile = rest
		case "module":
			mod, err := readModule(rest)
			if err != nil {
				return nil, fmt.Errorf("manifest line %d: %w", line, err)
			}
			m.Modules = append(m.Modules, mod)
		case "load":
			if rest == "" {
				return nil, fmt.Errorf("manifest line %d: load without a module", line)
			}
			m.Load = append(m.Load, rest)
		case "disk":
			m.Disks = append(m.Disks, rest)
		case "builtin":
			m.Builtin = append(m.Builtin, rest)
		case "alias":
			pattern, name, ok := strings.Cut(rest, " ")
			if !ok || pattern == "" || name == "" {
				return nil, fmt.Errorf("manifest line %d: alias without a module: %q", line, rest)
			}
			m.Aliases = append(m.Aliases, Alias{Pattern: pattern, Module: name})
		default:
			return nil, fmt.Errorf("manifest line %d: unknown kind %q", line, kind)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// readModule reads the words behind "module". The parameters come last,
// because they may contain blanks.
func readModule(s string) (Module, error) {
	s, params, _ := strings.Cut(s, " params=")
	words := strings.Split(s, " ")
	mod := Module{Name: words[0], Params: params}
	if mod.Name == "" {
		return Module{}, fmt.Errorf("module without a name")
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "needs":
			mod.Needs = strings.Split(value, ",")
		case "after":
			mod.After = strings.Split(value, ",")
		default:
			return Module{}, fmt.Errorf("module %s: unknown word %q", mod.Name, word)
		}
	}
	return mod, nil
}
