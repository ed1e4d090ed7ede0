package kmod

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/image"
)

// loops are soft and hard dependencies in circles, a module that depends on
// itself, names that are not listed, or not canonical.
const loops = `sidusboot-manifest 1
kernel 6.1.0-test
profile virtual
module a after=b
module b after=a
module self needs=self after=self
module hard1 needs=hard2
module hard2 needs=hard1
module lost needs=nobody
module soft after=nobody,soft2,soft-2
module soft2
module soft_2 after=soft
load a
disk nobody
builtin a_built_in
alias pci:v*d*sv*sd*bc*sc*i* soft
alias pci:v*[ nobody
alias : a
`

// loadAll reads a manifest's text and loads all that is in it. insert says
// which modules the kernel refuses.
func loadAll(t *testing.T, text string, insert func(path string) error) *Loader {
	t.Helper()
	m, err := image.ReadManifest(strings.NewReader(text))
	if err != nil {
		return nil
	}
	inserted := make(map[string]int)
	l := newLoader(m, "/", Options{}, func(path, _ string) error {
		inserted[path]++
		return insert(path)
	})
	sysfs := t.TempDir()
	device := filepath.Join(sysfs, "bus/pci/devices/0")
	if err := os.MkdirAll(device, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(device, "modalias"), []byte("pci:v00001AF4d00001041sv0sd0bc02sc00i00\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range m.Modules {
		_ = l.Load(m.Modules[i].Name)
		for _, name := range append(m.Modules[i].Needs, m.Modules[i].After...) {
			_ = l.Load(name)
			_ = l.Has(name)
		}
	}
	_ = l.LoadNamed()
	_, _ = l.LoadDevices(sysfs, nil)
	_, _ = l.LoadDisks(sysfs, nil)
	for path, n := range inserted {
		if n > 1 {
			t.Errorf("%s was given to the kernel %d times", path, n)
		}
	}
	return l
}

// A loop of dependencies was a stack overflow, and with it a kernel panic.
func TestLoops(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	l := loadAll(t, loops, func(string) error { return nil })
	if l == nil {
		t.Fatal("the manifest cannot be read")
	}
	for _, name := range []string{"a", "b", "self", "hard1", "hard2", "soft", "soft2", "soft_2"} {
		t.Run(name, func(t *testing.T) {
			if !slices.Contains(l.Loaded(), name) {
				t.Errorf("%s is not loaded, only %v", name, l.Loaded())
			}
		})
	}
}

// A chain of soft dependencies is as deep as the manifest is long.
func TestDeepChain(t *testing.T) {
	const deep = 100000
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	var b strings.Builder
	b.WriteString("sidusboot-manifest 1\nkernel k\n")
	for i := range deep {
		fmt.Fprintf(&b, "module m%d after=m%d\n", i, i+1)
	}
	m, err := image.ReadManifest(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	l := newLoader(m, "/", Options{}, func(string, string) error { return nil })
	if err := l.Load("m0"); err != nil {
		t.Fatal(err)
	}
	if got := len(l.Loaded()); got != deep {
		t.Errorf("%d modules are loaded, want %d", got, deep)
	}
}

// Who waits for a module whose loading panics is not left waiting.
func TestLoadPanics(t *testing.T) {
	l := newLoader(manifest, "/", Options{}, func(string, string) error { panic("insert") })
	func() {
		defer func() { _ = recover() }()
		_ = l.Load("sunrpc")
	}()
	if err := l.Load("sunrpc"); err == nil {
		t.Error("Load = nil after a panic")
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(loops, uint8(0))
	f.Add(loops, uint8(1))
	f.Add("sidusboot-manifest 1\nmodule a needs=../../x,/ after=\x00 params= a=b params=\n", uint8(2))
	f.Add("sidusboot-manifest 1\nmodule empty needs=, after=,\nmodule \nload \nalias  \n", uint8(0))
	f.Fuzz(func(t *testing.T, text string, refuse uint8) {
		defer debug.SetMaxStack(debug.SetMaxStack(4 << 20))
		loadAll(t, text, func(path string) error {
			if refuse > 0 && len(path)%int(refuse) == 0 {
				return fs.ErrNotExist
			}
			return nil
		})
	})
}
