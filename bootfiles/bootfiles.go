package bootdir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// A source is what is to be installed: a kernel and an image that belong together.
type source struct {
	kernel, image *os.File
	facts         imageFacts
	release       string
}

// imageFacts are what is read of an image.
type imageFacts struct {
	releases, profiles []string
	secrets            bool
}

func (s *source) close() {
	for _, f := range []*os.File{s.kernel, s.image} {
		if f != nil {
			f.Close()
		}
	}
}

// open opens the files and checks that they belong together.
func open(opts Options) (s *source, err error) {
	s = &source{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	switch {
	case opts.Image == "":
		return s, invalidf("Image", "is missing: name an image of initrdgen build")
	case opts.Kernel == "" && opts.Root == "":
		return s, invalidf("Kernel", "is missing: name the kernel's file, or with --root the tree that has it in boot/")
	}
	if s.image, err = initrd.OpenFile(opts.Image); err != nil {
		return s, optionErrorf("Image", "%w: name an image of initrdgen build", err)
	}
	if s.facts, err = readImage(s.image); err != nil {
		return s, optionErrorf("Image", "%s: %w", opts.Image, err)
	}
	if len(s.facts.releases) == 0 {
		return s, optionErrorf("Image", "%s is no image of initrdgen: it has no kernel's list of modules", opts.Image)
	}
	name := opts.Kernel
	if name != "" {
		if s.kernel, err = initrd.OpenFile(name); err != nil {
			return s, optionErrorf("Kernel", "%w: name the kernel's file, such as boot/vmlinuz-%s of the tree", err, s.facts.releases[0])
		}
	} else if s.kernel, name, err = findKernel(opts.Root, s.facts.releases); err != nil {
		return s, err
	}
	if s.release, err = initrd.KernelRelease(s.kernel); err != nil {
		return s, optionErrorf("Kernel", "%s: %w", name, err)
	}
	switch {
	case s.release == "" && len(s.facts.releases) == 1:
		s.release = s.facts.releases[0] // Of arm64, which does not say it.
	case !slices.Contains(s.facts.releases, s.release):
		return s, optionErrorf("Kernel", "%s is the kernel %s, and the image %s has modules for %s: build the image anew, or name the kernel that belongs to it",
			name, s.release, opts.Image, strings.Join(s.facts.releases, ", "))
	}
	return s, nil
}

// findKernel looks in a tree for the kernel of an image.
func findKernel(root string, releases []string) (*os.File, string, error) {
	if len(releases) > 1 {
		return nil, "", optionErrorf("Root", "the image is for the kernels %s: choose one by --kernel, such as %s/boot/vmlinuz-%s",
			strings.Join(releases, ", "), strings.TrimRight(root, "/"), releases[0])
	}
	t := tree.At(root)
	var first error
	for _, name := range []string{"boot/vmlinuz-" + releases[0], path.Join("lib/modules", releases[0], "vmlinuz")} {
		f, err := t.Open(name)
		if err == nil {
			return f, path.Join(root, name), nil
		}
		if first == nil {
			first = err
		}
	}
	if errors.Is(first, fs.ErrNotExist) {
		return nil, "", optionErrorf("Root", "%s has no boot/vmlinuz-%s, the kernel of the image: install its package, or name the file by --kernel", root, releases[0])
	}
	return nil, "", optionErrorf("Root", "%s: %w: make it readable, or run this as root", root, first)
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
			if err := image.CheckName(release); err != nil || !goodRelease(release) {
				return facts, fmt.Errorf("%s: %q cannot be a part of a file's name in a loader's configuration", file.Path, release)
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

// plan makes the version out of the files and the options.
func (s *source) plan(ctx context.Context, opts Options) (v *version, warnings []string, err error) {
	v = &version{Release: s.release, Name: opts.Name, Loaders: slices.Clone(opts.Loaders), Default: opts.Default, Path: opts.Path, Owner: -1}
	slices.Sort(v.Loaders)
	v.Loaders = slices.Compact(v.Loaders)
	labels := []label{{Name: LabelTmpfs, Append: join(opts.Append, "sidus.rw=tmpfs", opts.Tmpfs)}}
	if slices.Contains(s.facts.profiles, "iscsi") {
		labels = append(labels, label{Name: LabelISCSI, Append: join(opts.Append, "sidus.rw=iscsi", opts.ISCSI)})
	} else if opts.Default == LabelISCSI || opts.ISCSI != "" {
		return nil, nil, optionErrorf("Image", "%s cannot have the label %s, because it is not of the profile iscsi: build it with --profile %s,iscsi",
			opts.Image, LabelISCSI, strings.Join(s.facts.profiles, ","))
	}
	for _, field := range []struct{ name, text string }{{"Append", opts.Append}, {"Tmpfs", opts.Tmpfs}, {"ISCSI", opts.ISCSI}} {
		if err := checkWords(field.name, field.text); err != nil {
			return nil, nil, err
		}
	}
	for _, l := range labels {
		notes, err := checkParameters(l.Append)
		if err != nil {
			return nil, nil, err
		}
		for _, note := range notes {
			if !slices.Contains(warnings, note) {
				warnings = append(warnings, note)
			}
		}
		v.Labels = append(v.Labels, l)
	}
	if s.facts.secrets {
		if v.Secret, v.Owner = true, opts.Owner; opts.Owner < 0 {
			return nil, nil, optionErrorf("Owner", "is missing: %s holds the passwords of volumes, so that only the boot server's user may read it: name that user, such as tftp, dnsmasq or www-data", opts.Image)
		}
		if me := os.Geteuid(); me != 0 && me != opts.Owner {
			return nil, nil, optionErrorf("Owner", "only root can give a file to another user: run this as root, or as that user")
		}
	}
	if v.KernelSHA256, err = digest(ctx, s.kernel); err == nil {
		v.ImageSHA256, err = digest(ctx, s.image)
	}
	if err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(text)
	v.ID = s.release + "-" + hex.EncodeToString(sum[:5])
	return v, warnings, nil
}

// join puts parameters together, with one blank between them.
func join(texts ...string) string {
	var fields []string
	for _, text := range texts {
		fields = append(fields, strings.Fields(text)...)
	}
	return strings.Join(fields, " ")
}

// digest reads a file from its beginning.
func digest(ctx context.Context, f *os.File) (string, error) {
	h := sha256.New()
	if err := copyFile(ctx, h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// copyFile copies a file from its beginning, until ctx ends.
func copyFile(ctx context.Context, w io.Writer, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := f.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
