package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/image"
)

// options are the words of initrdgen build.
type options struct {
	Root, Output, Kernel, Profile  string
	Modules                        []string
	Config, Rescue, Init, Compress string
	Report                         string
	Verbose                        bool
}

// build makes an image: choose kernels and modules, then pack them while they
// are being read, then put the file in its place.
func build(ctx context.Context, opts options) (*report, error) {
	start := time.Now()
	prof, err := chooseProfile(opts.Profile)
	if err != nil {
		return nil, err
	}
	comp, err := chooseCompressor(opts.Compress)
	if err != nil {
		return nil, err
	}
	t, err := openTree(opts.Root)
	if err != nil {
		return nil, err
	}
	defer t.close()
	rep := &report{Version: version(), Root: opts.Root, Output: opts.Output, Profile: opts.Profile, Compress: comp.name}

	entries, err := fixedEntries(opts, rep)
	if err != nil {
		return nil, err
	}
	releases, err := chooseKernels(t, opts.Kernel)
	if err != nil {
		return nil, err
	}
	entries = append(entries, releaseEntry(opts.Profile, releases))
	var modules []*moduleFile
	for _, release := range releases {
		k, err := readKernel(t, release)
		if err != nil {
			return nil, err
		}
		warnings, err := check(t, k)
		if err != nil {
			return nil, err
		}
		rep.Warnings = append(rep.Warnings, warnings...)
		mods, aliases, err := plan(t, k, prof, opts.Modules)
		if err != nil {
			return nil, err
		}
		manifest := image.Manifest{Kernel: release, Profile: opts.Profile, Modules: mods, Builtin: k.builtin, Aliases: aliases}
		var text bytes.Buffer
		if _, err := manifest.WriteTo(&text); err != nil {
			return nil, err
		}
		entries = append(entries, fileEntry(image.ManifestPath(release), 0o644, text.Bytes()))
		for _, mod := range mods {
			m := newModuleFile(k, mod.Name)
			modules = append(modules, m)
			entries = append(entries, m.entry())
		}
	}

	out, err := createOutput(opts.Output)
	if err != nil {
		return nil, err
	}
	if err := write(ctx, out, comp, t, withParents(entries), modules, rep); err != nil {
		out.abort()
		return nil, err
	}
	if err := out.commit(); err != nil {
		return nil, err
	}
	rep.count(releases, modules)
	rep.Seconds = time.Since(start).Seconds()
	if opts.Report != "" {
		if err := rep.save(opts.Report); err != nil {
			return nil, err
		}
	}
	return rep, nil
}

// write packs everything into out. Firmware comes last, because the modules
// say which.
func write(ctx context.Context, out io.Writer, comp compressor, t *tree, entries []entry, modules []*moduleFile, rep *report) (err error) {
	packed := &counter{ctx: ctx, w: out}
	cw, err := comp.write(packed)
	if err != nil {
		return err
	}
	unpacked := &counter{ctx: ctx, w: cw}
	a, err := newArchive(unpacked)
	if err != nil {
		return err
	}

	loadCtx, cancel := context.WithCancel(ctx)
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		loadModules(loadCtx, t, modules)
	}()
	defer func() {
		cancel()
		<-loaded
	}()
	if err := a.add(ctx, entries); err != nil {
		return err
	}
	<-loaded

	have := make(map[string]bool)
	for _, f := range a.files {
		have[f.Path] = true
	}
	firmware, missing, err := packFirmware(t, modules)
	if err != nil {
		return err
	}
	rep.Firmware.Missing = missing
	for _, e := range withParents(firmware) {
		if have[e.path] {
			continue // A parent that is there already.
		}
		if err := a.add(ctx, []entry{e}); err != nil {
			return err
		}
	}
	if err := a.close(); err != nil {
		return err
	}
	if err := cw.Close(); err != nil {
		return err
	}
	rep.Files, rep.Unpacked, rep.Packed = a.files, unpacked.n, packed.n
	return nil
}

// A counter counts what passes through, and stops it when the build is
// interrupted.
type counter struct {
	ctx context.Context
	w   io.Writer
	n   int64
}

func (c *counter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// fixedEntries are what every image holds besides kernels: mount points, /init
// and the files that were named on the command line.
func fixedEntries(opts options, rep *report) ([]entry, error) {
	var entries []entry
	for _, dir := range []string{"proc", "sys", "run", "ro", "rw", "aufs", "etc", "lib", "tmp"} {
		entries = append(entries, dirEntry(dir, 0o755))
	}
	if opts.Init == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("--init: %w", err)
		}
		opts.Init = filepath.Join(filepath.Dir(self), "init")
	}
	for _, f := range []struct {
		flag, from, to, remedy string
		mode                   uint32
	}{
		{"--init", opts.Init, image.Init, "name sidusboot's init, which make leaves in bin/", 0o755},
		{"--rescue", opts.Rescue, image.Rescue, "name a static program", 0o755},
		{"--config", opts.Config, image.Config, "name a file of kernel command line words", 0o644},
	} {
		if f.from == "" {
			continue
		}
		data, err := readHostFile(f.from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", f.flag, err, f.remedy)
		}
		if f.mode == 0o755 {
			if problem := checkProgram(data); problem != "" {
				rep.Warnings = append(rep.Warnings, fmt.Sprintf("%s: %s %s: %s", f.flag, f.from, problem, f.remedy))
			}
		}
		entries = append(entries, fileEntry(f.to, f.mode, data))
	}
	return entries, nil
}

func readHostFile(name string) ([]byte, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return os.ReadFile(name)
}

// checkProgram says why a program could not run in an initrd, "" if it could.
// There is no interpreter and no library in one.
func checkProgram(data []byte) string {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return "is not a program"
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "is linked dynamically and will not start"
		}
	}
	return ""
}

// releaseEntry is the file that says what built the image, in the manner of
// os-release(5).
func releaseEntry(profile string, releases []string) entry {
	var b strings.Builder
	fmt.Fprintf(&b, "NAME=\"sidusboot\"\nID=sidusboot\nPRETTY_NAME=\"sidusboot initrd (%s)\"\n", profile)
	fmt.Fprintf(&b, "SIDUSBOOT_BUILDER=%q\n", version())
	fmt.Fprintf(&b, "SIDUSBOOT_PROFILE=%q\n", profile)
	fmt.Fprintf(&b, "SIDUSBOOT_KERNELS=%q\n", strings.Join(releases, " "))
	return fileEntry(image.Release, 0o644, []byte(b.String()))
}
