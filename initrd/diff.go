package initrd

import (
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
)

// A Difference says in what two images differ once the kernel has unpacked them: of
// a path that is in several archives of one, the last counts.
type Difference struct {
	// OnlyFirst and OnlySecond are paths.
	OnlyFirst  []string `json:"only_first"`
	OnlySecond []string `json:"only_second"`
	Changed    []Change `json:"changed"`
	// ModulesOnlyFirst and ModulesOnlySecond are kernel modules by name, wherever
	// they are and however they are compressed.
	ModulesOnlyFirst  []string `json:"modules_only_first"`
	ModulesOnlySecond []string `json:"modules_only_second"`
	// Same is how many paths do not differ.
	Same int `json:"same"`
}

// Equal tells whether there is no difference.
func (d *Difference) Equal() bool {
	return len(d.OnlyFirst)+len(d.OnlySecond)+len(d.Changed) == 0
}

// A Change is a path at which two images differ.
type Change struct {
	Path string `json:"path"`
	// What differs: "mode", "content", "link" or "device".
	What   []string `json:"what"`
	First  File     `json:"first"`
	Second File     `json:"second"`
}

// Diff compares two images, of any generators.
func Diff(first, second io.Reader) (*Difference, error) {
	a, err := readContents(first)
	if err != nil {
		return nil, &DiffError{Image: 1, Err: err}
	}
	b, err := readContents(second)
	if err != nil {
		return nil, &DiffError{Image: 2, Err: err}
	}
	d := &Difference{
		OnlyFirst: without(a.paths(), b.files), OnlySecond: without(b.paths(), a.files), Changed: []Change{},
		ModulesOnlyFirst: without(a.modules(), b.moduleSet()), ModulesOnlySecond: without(b.modules(), a.moduleSet()),
	}
	for _, name := range a.paths() {
		other, ok := b.files[name]
		if !ok {
			continue
		}
		file := a.files[name]
		var what []string
		if file.Mode != other.Mode {
			what = append(what, "mode")
		}
		if file.sum() != other.sum() {
			what = append(what, "content")
		}
		if file.Link != other.Link {
			what = append(what, "link")
		}
		if file.Device != other.Device {
			what = append(what, "device")
		}
		if len(what) == 0 {
			d.Same++
			continue
		}
		d.Changed = append(d.Changed, Change{Path: name, What: what, First: file.File, Second: other.File})
	}
	return d, nil
}

// A DiffError says which of the two images cannot be read.
type DiffError struct {
	Image int // 1 or 2.
	Err   error
}

func (e *DiffError) Error() string {
	return [...]string{1: "first image: ", 2: "second image: "}[e.Image] + e.Err.Error()
}

// Unwrap returns Err.
func (e *DiffError) Unwrap() error { return e.Err }

// contents are the files of an image as the kernel unpacks it.
type contents struct{ files map[string]*content }

type content struct {
	File
	own  [sha256.Size]byte
	data *content // Where the content is, of a file with several names.
}

func (c *content) sum() [sha256.Size]byte {
	if c.data != nil {
		return c.data.own
	}
	return c.own
}

func readContents(image io.Reader) (*contents, error) {
	c := &contents{files: make(map[string]*content)}
	r := NewReader(image)
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		file := &content{File: *f}
		if f.Mode.IsRegular() {
			hash := sha256.New()
			if _, err := io.Copy(hash, r); err != nil {
				return nil, err
			}
			hash.Sum(file.own[:0])
		}
		if first := c.files[f.HardLink]; f.HardLink != "" && first != nil {
			group := first
			if first.data != nil {
				group = first.data
			}
			if f.Bytes > 0 {
				group.own, group.Bytes = file.own, f.Bytes
			}
			file.data = group
		}
		if f.Path != "." {
			c.files[f.Path] = file
		}
	}
}

func (c *contents) paths() []string { return slices.Sorted(maps.Keys(c.files)) }

func (c *contents) moduleSet() map[string]bool {
	set := make(map[string]bool)
	for name, f := range c.files {
		if module := moduleName(name); module != "" && f.Mode.IsRegular() && strings.Contains(name, "lib/modules/") {
			set[module] = true
		}
	}
	return set
}

func (c *contents) modules() []string { return slices.Sorted(maps.Keys(c.moduleSet())) }

// without gives the names that are not in the other set.
func without[V any](names []string, other map[string]V) []string {
	only := []string{}
	for _, name := range names {
		if _, ok := other[name]; !ok {
			only = append(only, name)
		}
	}
	return only
}
