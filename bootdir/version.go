package bootdir

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/initrd"
)

// A version is a kernel and an image that were installed, and all that the
// configuration of the loaders is made of.
type version struct {
	ID           string            `json:"id,omitempty"`
	Name         string            `json:"name"`
	Release      string            `json:"release"`
	KernelSHA256 string            `json:"kernel_sha256"`
	ImageSHA256  string            `json:"image_sha256"`
	Labels       []bootfiles.Label `json:"labels"`
	Default      string            `json:"default"`
	Loaders      []string          `json:"loaders"`
	Path         string            `json:"path"`
	// Secret says that only Owner may read the image.
	Secret bool `json:"secret"`
	Owner  int  `json:"owner"`
	// Architecture is that of the kernel, as Debian calls it. Versions of before do not
	// have it.
	Architecture string `json:"architecture,omitempty"`
}

// The files of a version.
const (
	kernelFile  = "vmlinuz"
	imageFile   = "initrd.img"
	versionFile = "version.json"
)

// plan makes a version out of the files and the options.
func plan(ctx context.Context, opts Options, src *bootfiles.Set) (*version, error) {
	v := &version{Release: src.Release, Name: opts.Name, Labels: src.Labels, Loaders: slices.Clone(opts.Loaders), Default: opts.Default, Path: opts.Path, Owner: -1}
	slices.Sort(v.Loaders)
	v.Loaders = slices.Compact(v.Loaders)
	if src.Secret {
		if v.Secret, v.Owner = true, opts.Owner; opts.Owner < 0 {
			return nil, initrd.OptionErrorf("Owner", "is missing: %s has the passwords of volumes, so only the user of the boot server may read it: give that user, such as tftp, dnsmasq or www-data", opts.Image)
		}
		if me := os.Geteuid(); me != 0 && me != opts.Owner {
			return nil, initrd.OptionErrorf("Owner", "only root can give a file to another user: run initrdgen as root, or as that user")
		}
	}
	var err error
	if v.KernelSHA256, err = digest(ctx, src.Kernel); err == nil {
		v.ImageSHA256, err = digest(ctx, src.Image)
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	v.ID = src.Release + "-" + hex.EncodeToString(sum[:5])
	v.Architecture = src.Architecture // Not in the ID: the kernel's content decides it.
	return v, nil
}

func (v *version) file(name string) string { return path.Join(v.Name, v.ID, name) }

// imageMode is who may read the image.
func (v *version) imageMode() fs.FileMode {
	if v.Secret {
		return 0o600
	}
	return 0o644
}

// labelName is what a label is called in the configuration. Only of the default
// Name it is the plain one.
func (v *version) labelName(l string) string {
	if v.Name == DefaultName {
		return l
	}
	return v.Name + "-" + l
}

// A state is what was installed under a name.
type state struct {
	// Versions are in the order in which they came into use; the last one is in
	// use.
	Versions []string `json:"versions"`
}

func (d *dir) stateFile() string { return path.Join(d.name, "versions.json") }

// readState reads which versions there are.
func (d *dir) readState() (*state, error) {
	s := &state{}
	text, err := d.read(d.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w: it was changed by hand or is damaged: remove it and install again; a rollback to earlier versions is then not possible", d.path(d.stateFile()), err)
	}
	for _, id := range s.Versions {
		if id == "" || id == "." || id == ".." || strings.ContainsAny(id, "/\x00") {
			return nil, fmt.Errorf("%s: %q cannot be a version: it was changed by hand or is damaged: remove it and install again; a rollback to earlier versions is then not possible", d.path(d.stateFile()), id)
		}
	}
	return s, nil
}

func (d *dir) writeState(s *state) error { return d.writeJSON(d.stateFile(), s) }

// restore puts the state back after an error, as far as that is possible.
func (d *dir) restore(s *state) {
	if d.dry {
		return
	}
	if len(s.Versions) > 0 {
		_ = d.writeState(s)
		return
	}
	_ = d.root.Remove(d.stateFile())
	_ = d.root.Remove(d.name) // Unless there are files of others in it.
}

func (d *dir) writeJSON(name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return d.write(name, append(text, '\n'))
}

// add puts a version into the directory, unless it is there already.
func (d *dir) add(ctx context.Context, s *state, v *version, src *bootfiles.Set) (err error) {
	fresh := !slices.Contains(s.Versions, v.ID)
	if fresh {
		// It is first: where this is interrupted, the next install that removes old
		// versions begins with it.
		if err := d.writeState(&state{Versions: append([]string{v.ID}, s.Versions...)}); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				d.removeAll(path.Join(d.name, v.ID))
				d.restore(s)
			}
		}()
	}
	for _, f := range []struct {
		name   string
		from   *os.File
		sha256 string
		mode   fs.FileMode
		owner  int
	}{
		{kernelFile, src.Kernel, v.KernelSHA256, 0o644, -1},
		{imageFile, src.Image, v.ImageSHA256, v.imageMode(), v.Owner},
	} {
		if err := d.copy(ctx, v.file(f.name), f.from, f.sha256, f.mode, f.owner); err != nil {
			return err
		}
	}
	return d.writeJSON(v.file(versionFile), v)
}

// readVersion reads a version that was installed, and checks that its files are
// as they were.
func (d *dir) readVersion(id string) (*version, error) {
	v := &version{ID: id, Name: d.name}
	text, err := d.read(v.file(versionFile))
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return nil, fmt.Errorf("version %s is incomplete: %w: choose another version", id, err)
	}
	if v.ID != id || v.Name != d.name {
		return nil, fmt.Errorf("%s belongs to version %s of %s: choose another version", d.path(v.file(versionFile)), v.ID, v.Name)
	}
	for _, l := range v.Labels {
		if !goodName.MatchString(l.Name) {
			return nil, fmt.Errorf("%s: %q is not a label: it was changed by hand or is damaged: choose another version", d.path(v.file(versionFile)), l.Name)
		}
		// Without the parameter that the label has added.
		if err := bootfiles.CheckParameters(strings.Replace(l.Append, "sidus.rw="+l.Name, "", 1)); err != nil {
			return nil, fmt.Errorf("%s: %w: it was changed by hand or is damaged: choose another version", d.path(v.file(versionFile)), err)
		}
	}
	for name, want := range map[string]string{kernelFile: v.KernelSHA256, imageFile: v.ImageSHA256} {
		got, err := d.digest(v.file(name))
		if err != nil {
			return nil, fmt.Errorf("version %s is incomplete: %w: choose another version", id, err)
		}
		if got != want {
			return nil, fmt.Errorf("version %s is damaged: %s is not the file that was installed: choose another version", id, d.path(v.file(name)))
		}
	}
	return v, nil
}

// use makes the loaders use a version, and removes the oldest ones.
func (d *dir) use(s *state, v *version, files []configFile, keep int) (*Report, error) {
	s.Versions = append(slices.DeleteFunc(slices.Clone(s.Versions), func(id string) bool { return id == v.ID }), v.ID)
	for _, f := range files {
		if err := d.write(f.name, f.text); err != nil {
			return nil, err
		}
	}
	// The record of a version that is in no state is of no use, so the state goes first.
	old := d.obsolete(s, keep)
	s.Versions = slices.DeleteFunc(s.Versions, func(id string) bool { return slices.Contains(old, id) })
	if err := d.writeState(s); err != nil {
		return nil, err
	}
	for _, id := range old {
		d.removeAll(path.Join(d.name, id))
	}
	r := &Report{
		Dir: d.root.Name(), Name: d.name, Version: v.ID, Kernel: v.Release, Default: v.labelName(v.Default), Labels: []string{},
		Versions: s.Versions, Changes: d.changes, Warnings: append(d.warnings, d.hints(v.Loaders, v.Architecture)...),
	}
	if r.Changes == nil {
		r.Changes = []Change{}
	}
	if r.Warnings == nil {
		r.Warnings = []string{}
	}
	for _, l := range v.Labels {
		r.Labels = append(r.Labels, v.labelName(l.Name))
	}
	return r, nil
}

// obsolete are the oldest versions beyond those that are kept. One that any
// loader's configuration names stays: a node's own file may.
func (d *dir) obsolete(s *state, keep int) (old []string) {
	if len(s.Versions) <= keep {
		return nil
	}
	named := d.configurations()
	for _, id := range s.Versions[:len(s.Versions)-keep] {
		if bytes.Contains(named, []byte(path.Join(d.name, id)+"/")) {
			d.warnf("version %s is kept, because a loader's configuration uses it", id)
			continue
		}
		old = append(old, id)
	}
	return old
}
