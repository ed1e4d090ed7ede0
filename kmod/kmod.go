// Package kmod loads the kernel modules that the image's manifest lists: by
// name, with everything that they need, or by the devices that the kernel has
// found. The kernel cannot call modprobe in an initramfs without one, so what
// it would ask for (nfsv4, crc32c, …) is loaded ahead.
//
// It reads image.ManifestPath and the modules beside it, and of sysfs the modalias of
// each device below bus/. Which modules are forbidden and what parameters they get is
// said by Options. It needs no module itself.
package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/image"
)

// A MissingError says that the image does not have a module: neither as a file
// nor, as far as the manifest knows, built into the kernel.
type MissingError struct {
	Name, Kernel string
	// Profile is what --profile would have to say to get it; empty where only
	// --module helps.
	Profile string
}

func (e *MissingError) Error() string {
	remedy := "--module " + e.Name
	if e.Profile != "" {
		remedy = "--profile " + e.Profile
	}
	return fmt.Sprintf("module %s for kernel %s is not in this image: build it again with initrdgen build %s",
		e.Name, e.Kernel, remedy)
}

// A KernelError says that the image was built for other kernels than the one
// that runs.
type KernelError struct {
	Running string
	Have    []string
}

func (e *KernelError) Error() string {
	have := "no kernel at all"
	if len(e.Have) > 0 {
		have = strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("this kernel is %s, the image has modules for %s: build it again with initrdgen build --kernel %s, or boot the kernel that belongs to it",
		e.Running, have, e.Running)
}

// Options are what the command line says about modules.
type Options struct {
	// Params is the text of parameters for each module (module.param=value).
	Params map[string]string
	// Blacklist are modules that are not loaded for a device, nor first, by canonical name
	// (modprobe.blacklist=).
	Blacklist map[string]bool
}

// A Loader loads modules. Its methods may be called at the same time.
type Loader struct {
	manifest *image.Manifest
	modules  map[string]*image.Module
	builtin  map[string]bool
	disks    map[string]bool
	usbHosts map[string]bool
	root     string
	opts     Options
	insert   func(path, params string) error

	mu     sync.Mutex
	loads  map[string]*load
	loaded []string
}

// A load is the loading of one module. Every goroutine that needs the module waits
// for it.
type load struct {
	done chan struct{}
	err  error
}

// Open reads the manifest for the running kernel's release in the image whose
// root is root, "/" in a booted node. The error is a *KernelError where the
// image holds other kernels.
func Open(root, release string, opts Options) (*Loader, error) {
	f, err := os.Open(filepath.Join(root, image.ManifestPath(release)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &KernelError{Running: release, Have: kernels(root)}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := image.ReadManifest(f)
	if err != nil {
		return nil, err
	}
	return newLoader(m, root, opts, insertFile), nil
}

func newLoader(m *image.Manifest, root string, opts Options, insert func(path, params string) error) *Loader {
	l := &Loader{
		manifest: m,
		modules:  make(map[string]*image.Module, len(m.Modules)),
		builtin:  make(map[string]bool, len(m.Builtin)),
		disks:    make(map[string]bool, len(m.Disks)),
		usbHosts: make(map[string]bool, len(m.USBHosts)),
		root:     root,
		opts:     opts,
		insert:   insert,
		loads:    make(map[string]*load),
	}
	for i := range m.Modules {
		l.modules[m.Modules[i].Name] = &m.Modules[i]
	}
	for _, name := range m.Builtin {
		l.builtin[name] = true
	}
	for _, name := range m.Disks {
		l.disks[name] = true
	}
	for _, name := range m.USBHosts {
		l.usbHosts[name] = true
	}
	return l
}

func kernels(root string) []string {
	entries, err := os.ReadDir(filepath.Join(root, image.Modules))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Has tells whether the module is in the image or built in.
func (l *Loader) Has(name string) bool {
	name = image.CanonicalName(name)
	return l.builtin[name] || l.modules[name] != nil
}

// Profile is what the image was built with: names of profiles, with commas.
func (l *Loader) Profile() string { return strings.Join(l.manifest.Profiles, ",") }

// USBHosts are the drivers of USB host controllers.
func (l *Loader) USBHosts() map[string]bool { return l.usbHosts }

// LoadFirst loads the modules with which the kernel loads the others faster. One that
// the processor has no instructions for does not load, and what is wrong with the image
// is said of the modules that a boot needs.
func (l *Loader) LoadFirst() {
	for _, name := range l.manifest.First {
		if !l.opts.Blacklist[name] {
			_ = l.Load(name)
		}
	}
}

// LoadNamed loads the modules that the image builder named with --module. Not
// every node has what they drive: one that fails does not keep the others from
// loading, and the errors are joined.
func (l *Loader) LoadNamed() error {
	var errs []error
	for _, name := range l.manifest.Load {
		if err := l.Load(name); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Loaded are the names of the modules loaded so far, in order.
func (l *Loader) Loaded() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.loaded)
}

// Load loads the modules, in this order, with all that they need. One that is
// built in or loaded already is fine.
func (l *Loader) Load(names ...string) error {
	for _, name := range names {
		if err := l.loadWithSoft(image.CanonicalName(name)); err != nil {
			return err
		}
	}
	return nil
}

// loadWithSoft loads a module, and then the modules of its soft dependencies:
// theirs too, each once, whatever loops they make (softdep a post: b, softdep b
// post: a). There is no recursion here: a stack overflow is not a panic that
// could be recovered from, and the end of PID 1 is that of the kernel.
func (l *Loader) loadWithSoft(name string) error {
	if err := l.loadHard(name); err != nil {
		return err
	}
	seen := map[string]bool{name: true}
	for open := []string{name}; len(open) > 0; {
		last := open[len(open)-1]
		open = open[:len(open)-1]
		mod := l.modules[last]
		if mod == nil {
			continue
		}
		if last != name {
			// A soft dependency may be missing.
			if err := l.loadHard(last); err != nil {
				continue
			}
		}
		for _, after := range slices.Backward(mod.After) { // So that the first is loaded first.
			if after = image.CanonicalName(after); !seen[after] {
				seen[after] = true
				open = append(open, after)
			}
		}
	}
	return nil
}

// loadHard loads a module and those that it needs, and before that the modules of
// its soft dependencies, with or without success. The manifest lists indirect
// needs too, so that none are followed here, and no loop of them either.
func (l *Loader) loadHard(name string) error {
	if l.builtin[name] {
		return nil
	}
	mod := l.modules[name]
	if mod == nil {
		return l.missing(name)
	}
	for _, before := range mod.Before {
		if soft := l.modules[before]; soft != nil {
			_ = l.loadWithNeeds(soft)
		}
	}
	return l.loadWithNeeds(mod)
}

func (l *Loader) loadWithNeeds(mod *image.Module) error {
	for _, need := range mod.Needs {
		if err := l.loadOne(need); err != nil {
			return fmt.Errorf("module %s: %w", mod.Name, err)
		}
	}
	return l.loadOne(mod.Name)
}

// errUnfinished is the error of a load that a panic ended.
var errUnfinished = errors.New("loading it was interrupted")

func (l *Loader) loadOne(name string) error {
	if l.builtin[name] {
		return nil
	}
	if l.modules[name] == nil {
		return l.missing(name)
	}
	l.mu.Lock()
	ld := l.loads[name]
	if ld == nil {
		ld = &load{done: make(chan struct{}), err: errUnfinished}
		l.loads[name] = ld
		l.mu.Unlock()
		l.loadNow(name, ld)
		return ld.err
	}
	l.mu.Unlock()
	<-ld.done
	return ld.err
}

func (l *Loader) loadNow(name string, ld *load) {
	defer close(ld.done)
	if ld.err = l.insertModule(name); ld.err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.loaded = append(l.loaded, name)
	}
}

func (l *Loader) insertModule(name string) error {
	params := l.modules[name].Params
	if p := l.opts.Params[name]; p != "" {
		params = strings.TrimSpace(params + " " + p)
	}
	err := l.insert(filepath.Join(l.root, image.ModulePath(l.manifest.Kernel, name)), params)
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return l.missing(name)
	case errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.ENOKEY):
		return fmt.Errorf("module %s: the kernel refuses its signature, is it from another build of %s? %w", name, l.manifest.Kernel, err)
	}
	return fmt.Errorf("module %s: %w", name, err)
}

func (l *Loader) missing(name string) error {
	profile := image.ProfilesWith(l.manifest.Profiles, name)
	return &MissingError{Name: name, Kernel: l.manifest.Kernel, Profile: strings.Join(profile, ",")}
}
