package bootfiles

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/initrd"
	"github.com/sidusboot/sidusboot/tree"
)

// What a tree has in boot/, with the kernel's release behind it. sidusnode update takes
// the same by kexec.
const (
	treeKernel = "vmlinuz-"
	treeImage  = "initrd-sidus-"
)

// newestImage opens the image in boot/ of a tree that was made last, of those whose
// kernel is beside it.
func newestImage(root string) (f *os.File, name string, err error) {
	t := tree.At(root)
	entries, err := t.ReadDir("boot")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", initrd.WithRemedy(initrd.OptionErrorf("Root", "%s: %w: give a root tree that has a kernel, or an image", root, err), "Image")
	}
	var newest time.Time
	for _, e := range entries {
		release, ok := strings.CutPrefix(e.Name(), treeImage)
		if !ok {
			continue
		}
		if _, err := t.Stat("boot/" + treeKernel + release); err != nil {
			continue
		}
		if info, err := t.Stat("boot/" + e.Name()); err == nil && info.ModTime().After(newest) {
			newest, name = info.ModTime(), e.Name()
		}
	}
	if name == "" {
		return nil, "", initrd.OptionErrorf("Image", "is missing, and %s has no boot/%sRELEASE with boot/%sRELEASE: give an image that initrdgen build wrote, or install the package sidusboot-tree in the tree",
			root, treeImage, treeKernel)
	}
	name = "boot/" + name
	if f, err = t.Open(name); err != nil {
		return nil, "", initrd.OptionErrorf("Root", "%s: %w: make it readable, or run initrdgen as root", root, err)
	}
	return f, path.Join(root, name), nil
}
