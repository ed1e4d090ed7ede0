// Package bootdir puts a kernel and an image into the directory of a boot server,
// with the configuration of the loaders that fetch them: pxelinux, GRUB and iPXE.
//
// In the directory there is one of our own, NAME, with one directory for each
// version that was installed:
//
//	NAME/versions.json                 which there are, the one in use last
//	NAME/RELEASE-DIGEST/vmlinuz
//	NAME/RELEASE-DIGEST/initrd.img
//	NAME/RELEASE-DIGEST/version.json   what the configuration is made of
//	NAME.ipxe                          all of it is ours
//	pxelinux.cfg/default               in these two there is a block of ours, between
//	grub/grub.cfg                      two lines that mark it
//
// The configuration names the files of one version by their full path, and no link
// such as "current" is on it: a node that has read the configuration before an
// install gets the kernel and the image that belong together, and not one of each
// version. What is in a version's directory never changes.
package bootdir

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/initrd"
)

// Defaults of Options.
const (
	DefaultName = "sidus"
	DefaultKeep = 3
)

// Options say what Install puts where.
type Options struct {
	// Dir is what the boot server offers by TFTP or HTTP. Required.
	Dir string
	// Options name the files and the parameters. Nodes boot the label Default for
	// which nothing else is set.
	bootfiles.Options
	// Name is that of the directory and of the blocks, so that several trees can
	// be in one Dir. Empty: DefaultName.
	Name string
	// Loaders are some of Loaders(). Empty: all.
	Loaders []string
	// Path is what Dir is called in requests to the boot server, for GRUB. Empty: "/".
	Path string
	// Owner is the user that the boot server runs as, where the image holds
	// secrets; -1 where it is not known.
	Owner int
	// Keep is how many versions are kept. 0: DefaultKeep.
	Keep int
	// DryRun says that nothing is to be written.
	DryRun bool
}

// A Report says what was done.
type Report struct {
	Dir  string `json:"dir"`
	Name string `json:"name"`
	// Version is the one that nodes boot now.
	Version string   `json:"version"`
	Kernel  string   `json:"kernel"`
	Labels  []string `json:"labels"`
	Default string   `json:"default"`
	// Versions are those that are there, the one in use last.
	Versions []string `json:"versions"`
	// Changes are the files that were written or removed. Empty: all was there already.
	Changes  []Change `json:"changes"`
	Warnings []string `json:"warnings"`
}

// A Change is one of a file below the directory.
type Change struct {
	Path string `json:"path"`
	// Action is "written" or "removed".
	Action string `json:"action"`
}

// goodName is what needs no quotes in any loader's configuration, nor in a path.
var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

// complete fills in the defaults and refuses what cannot be right.
func (o *Options) complete() error {
	o.Name = cmp.Or(o.Name, DefaultName)
	o.Default = cmp.Or(o.Default, bootfiles.Tmpfs)
	o.Keep = cmp.Or(o.Keep, DefaultKeep)
	o.Path = "/" + strings.Trim(o.Path, "/")
	if len(o.Loaders) == 0 {
		o.Loaders = Loaders()
	}
	switch {
	case o.Dir == "":
		return initrd.InvalidOptionf("Dir", "is missing: give the directory that the boot server offers")
	case !goodName.MatchString(o.Name):
		return initrd.InvalidOptionf("Name", "%q cannot be a name: use up to 32 letters, digits and . _ -, with a letter or a digit first", o.Name)
	case slices.Contains(reserved, o.Name):
		return initrd.InvalidOptionf("Name", "%s is a directory that belongs to a loader: choose another name", o.Name)
	case !goodPath.MatchString(o.Path):
		return initrd.InvalidOptionf("Path", "%q cannot be a path: use up to 100 letters, digits and . _ - /", o.Path)
	case o.Keep < 2:
		return initrd.InvalidOptionf("Keep", "%d is too few: keep 2 or more, the version in use and the one before it", o.Keep)
	}
	for _, name := range o.Loaders {
		if _, err := loaderOf(name); err != nil {
			return err
		}
	}
	return nil
}

var (
	goodPath = regexp.MustCompile(`^/[A-Za-z0-9._/-]{0,100}$`)
	reserved = []string{"pxelinux.cfg", "grub", "ipxe.cfg", "boot"}
)

// Install puts a version into the directory and makes the loaders use it. The
// directory is as it was before where an error comes before the first
// configuration is written; each file appears whole or not at all.
//
// An error that is about one of the options is an *initrd.OptionError.
func Install(ctx context.Context, opts Options) (*Report, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	src, err := bootfiles.Open(opts.Options)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	v, err := plan(ctx, opts, src)
	if err != nil {
		return nil, err
	}
	d, err := openDir(opts.Dir, opts.Name, opts.DryRun)
	if err != nil {
		return nil, err
	}
	defer d.close()
	d.warnings = src.Warnings
	s, err := d.readState()
	if err != nil {
		return nil, err
	}
	// An error about the loaders' files comes before anything is written.
	files, err := d.configure(v, opts.Loaders)
	if err != nil {
		return nil, err
	}
	if err := d.add(ctx, s, v, src); err != nil {
		return nil, err
	}
	return d.use(s, v, files, opts.Keep)
}

// Rollback makes the loaders use a version that was installed before: that with
// the name, or the one that was in use before the present one. Of the options
// Dir, Name, Keep and DryRun count.
func Rollback(opts Options, version string) (*Report, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	d, err := openDir(opts.Dir, opts.Name, opts.DryRun)
	if err != nil {
		return nil, err
	}
	defer d.close()
	s, err := d.readState()
	if err != nil {
		return nil, err
	}
	if version == "" {
		if len(s.Versions) < 2 {
			return nil, initrd.OptionErrorf("Rollback", "%s has no version that was used before: its versions are in %s", d.path(d.name), d.path(d.stateFile()))
		}
		version = s.Versions[len(s.Versions)-2]
	}
	if !slices.Contains(s.Versions, version) {
		return nil, initrd.OptionErrorf("Version", "%s has no version %q: choose one of %s", d.path(d.name), version, strings.Join(s.Versions, ", "))
	}
	v, err := d.readVersion(version)
	if err != nil {
		return nil, err
	}
	files, err := d.configure(v, v.Loaders)
	if err != nil {
		return nil, err
	}
	return d.use(s, v, files, opts.Keep)
}
