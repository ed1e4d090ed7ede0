// Package bootfiles finds a kernel, an image and the parameters that boot together,
// and checks that they do: for the loaders of bootdir, and for one file with all of
// it (uki).
package bootfiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd"
	"github.com/sidusboot/sidusboot/tree"
)

// The labels: whether what a node writes is kept.
const (
	Tmpfs = "tmpfs" // It is lost at the next boot.
	ISCSI = "iscsi" // It is kept, on the node's own volume.
)

// Options name the files and the parameters.
type Options struct {
	// Image is an initrd of initrdgen. Empty: the one in boot/ of Root that was made
	// last, boot/initrd-sidus-RELEASE.
	Image string
	// Kernel is the file of the kernel; or Root is a root tree that has it in boot/.
	Kernel, Root string
	// Default is the label for which nothing else need be chosen. Empty: Tmpfs.
	Default string
	// Append are the kernel's parameters for both labels, AppendTmpfs and AppendISCSI
	// those for one of them in addition.
	Append, AppendTmpfs, AppendISCSI string
}

// A Label is one way to boot.
type Label struct {
	Name   string `json:"name"`
	Append string `json:"append"`
}

// A Set is what boots together. Close it.
type Set struct {
	Kernel, Image *os.File
	// Release is that of the kernel, Architecture what it runs on, as Debian calls it.
	Release, Architecture string
	// Format is what kind of file the kernel is.
	Format initrd.KernelFormat
	// Labels are Tmpfs and, where the image is of the profile iscsi, ISCSI; the
	// default one first.
	Labels []Label
	// Secret says that the image holds the passwords of volumes.
	Secret bool
	// Warnings are about the parameters.
	Warnings []string
}

// Close closes the files.
func (s *Set) Close() {
	for _, f := range []*os.File{s.Kernel, s.Image} {
		if f != nil {
			f.Close()
		}
	}
}

// Open opens the files and checks that they belong together, and that /init
// understands the parameters. An error that is about one of the options is an
// *initrd.OptionError.
func Open(opts Options) (s *Set, err error) {
	s = &Set{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	switch {
	case opts.Image == "" && opts.Root == "":
		return s, initrd.InvalidOptionf("Image", "is missing: give an image that initrdgen build wrote")
	case opts.Kernel == "" && opts.Root == "":
		return s, initrd.WithRemedy(initrd.InvalidOptionf("Kernel", "is missing: give the kernel's file, or the tree that has it in boot/"), "Root")
	}
	if opts.Image == "" {
		s.Image, opts.Image, err = newestImage(opts.Root)
	} else if s.Image, err = initrd.OpenFile(opts.Image); err != nil {
		err = initrd.OptionErrorf("Image", "%w: give an image that initrdgen build wrote", err)
	}
	if err != nil {
		return s, err
	}
	facts, err := readImage(s.Image)
	if err != nil {
		return s, initrd.OptionErrorf("Image", "%s: %w", opts.Image, err)
	}
	if len(facts.releases) == 0 {
		return s, initrd.OptionErrorf("Image", "%s was not built by initrdgen: it has no list of a kernel's modules; give an image that initrdgen build wrote", opts.Image)
	}
	s.Secret = facts.secrets
	if err := s.findKernel(opts, facts.releases); err != nil {
		return s, err
	}
	return s, s.label(opts, facts.profiles)
}

// findKernel opens the kernel, and checks that the image has modules for it.
func (s *Set) findKernel(opts Options, releases []string) (err error) {
	name := opts.Kernel
	if name != "" {
		if s.Kernel, err = initrd.OpenFile(name); err != nil {
			return initrd.OptionErrorf("Kernel", "%w: give the kernel's file, such as boot/vmlinuz-%s of the tree", err, releases[0])
		}
	} else if s.Kernel, name, err = kernelOfTree(opts.Root, releases); err != nil {
		return err
	}
	file, err := initrd.ReadKernelFile(s.Kernel)
	if err != nil {
		return initrd.OptionErrorf("Kernel", "%s: %w", name, err)
	}
	s.Release, s.Architecture, s.Format = file.Release, file.Architecture, file.Format
	switch {
	case s.Release == "" && len(releases) == 1:
		s.Release = releases[0] // Packed in a way that is not unpacked here.
	case !slices.Contains(releases, s.Release):
		return initrd.OptionErrorf("Kernel", "%s is kernel %s, but the image %s has modules for %s: build the image again, or give the kernel that it was built for",
			name, s.Release, opts.Image, strings.Join(releases, ", "))
	}
	if s.Format == initrd.ImageGz {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s is compressed by gzip: U-Boot starts such a kernel, but GRUB and iPXE under UEFI do not: for these decompress it with gunzip, and give that file as the kernel", name))
	}
	return nil
}

// kernelOfTree looks in a tree for the kernel of an image.
func kernelOfTree(root string, releases []string) (*os.File, string, error) {
	if len(releases) > 1 {
		return nil, "", initrd.WithRemedy(initrd.OptionErrorf("Root", "the image is for the kernels %s: give the file of one, such as %s/boot/vmlinuz-%s",
			strings.Join(releases, ", "), strings.TrimRight(root, "/"), releases[0]), "Kernel")
	}
	t := tree.At(root)
	var first error
	for _, name := range []string{"boot/" + treeKernel + releases[0], path.Join("lib/modules", releases[0], "vmlinuz")} {
		f, err := t.Open(name)
		if err == nil {
			return f, path.Join(root, name), nil
		}
		if first == nil {
			first = err
		}
	}
	if errors.Is(first, fs.ErrNotExist) {
		return nil, "", initrd.WithRemedy(initrd.OptionErrorf("Root", "%s has no boot/vmlinuz-%s, the kernel of the image: install its package, or give the file of the kernel", root, releases[0]), "Kernel")
	}
	return nil, "", initrd.OptionErrorf("Root", "%s: %w: make it readable, or run initrdgen as root", root, first)
}

// imageFacts are what is read of an image.
type imageFacts struct {
	releases, profiles []string
	secrets            bool
}

// readImage reads what matters of an image.
func readImage(f io.Reader) (facts imageFacts, err error) {
	r := initrd.NewReader(f)
	for {
		file, err := r.Next()
		if errors.Is(err, io.EOF) {
			return facts, nil
		}
		if err != nil {
			return facts, err
		}
		switch release := path.Base(path.Dir(file.Path)); {
		case !file.Mode.IsRegular():
		case "/"+file.Path == image.Secrets:
			facts.secrets = true
		case "/"+file.Path == image.ManifestPath(release):
			m, err := image.ReadManifest(r)
			if err != nil {
				return facts, fmt.Errorf("%s: %w", file.Path, err)
			}
			if !goodRelease(release) {
				return facts, fmt.Errorf("%s: %q cannot be part of a file name in a loader's configuration", file.Path, release)
			}
			facts.releases = append(facts.releases, release)
			facts.profiles = append(facts.profiles, m.Profiles...)
		}
	}
}

// goodRelease tells whether a kernel's release can be in the name of a directory.
func goodRelease(release string) bool {
	return release[0] != '.' && len(release) < 64 && strings.Trim(release, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-") == ""
}
