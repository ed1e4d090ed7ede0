package initrd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sidusboot/sidusboot/image"
)

// Build makes an image: it chooses kernels and modules, packs them while they are
// being read, and then puts the file in its place. Output and Report appear whole
// or not at all; a build that fails or is cancelled leaves the old ones.
//
// An error that is about one of the options is an *OptionError.
func Build(ctx context.Context, opts Options) (*Report, error) {
	start := time.Now()
	chosen, err := chooseProfiles(opts.Profiles)
	if err != nil {
		return nil, err
	}
	for _, o := range []struct{ field, value, remedy string }{
		{"Root", opts.Root, "give the root tree that the nodes mount"},
		{"Output", opts.Output, "give the name of the image to write"},
		{"Init", cmp.Or(opts.Init, opts.InitDir), "give sidusboot's init, or the directory that has it"},
	} {
		if o.value == "" {
			return nil, InvalidOptionf(o.field, "is missing: %s", o.remedy)
		}
	}
	if err := checkOutputs(opts); err != nil {
		return nil, err
	}
	if err := checkPatterns(opts.AllowMissing); err != nil {
		return nil, err
	}
	comp, err := chooseCompressor(opts.Compress)
	if err != nil {
		return nil, err
	}
	if isSmall(chosen) && comp.writeSmall != nil {
		comp.write = comp.writeSmall
	}
	t, err := openTree(opts.Root)
	if err != nil {
		return nil, err
	}
	rep := &Report{Version: opts.Builder, Root: opts.Root, Output: opts.Output, Profile: joinNames(chosen), Compress: comp.name,
		Warnings: []string{}, Firmware: FirmwareReport{Missing: []string{}, Tolerated: []string{}, DriversWithout: []string{}}, Microcode: []MicrocodeReport{}}

	kernels, want, from, warnings, err := readKernels(t, opts.Kernel)
	if err != nil {
		return nil, err
	}
	rep.Warnings = append(rep.Warnings, warnings...)
	rep.Architecture = archNames[want]
	if opts.Init == "" {
		if opts.Init, err = chooseInit(opts.InitDir, want, from); err != nil {
			return nil, err
		}
		if err := checkOutputs(opts); err != nil {
			return nil, err
		}
	}
	entries, advice, err := fixedEntries(opts, want, from, rep)
	if err != nil {
		return nil, err
	}
	var releases []string
	for _, k := range kernels {
		releases = append(releases, k.release)
	}
	entries = append(entries, releaseEntry(opts.Builder, joinNames(chosen), releases))
	var modules []*moduleFile
	for _, k := range kernels {
		rep.Warnings = append(rep.Warnings, k.problems...)
		if warnings, err = check(t, k, chosen); err != nil {
			return nil, err
		}
		rep.Warnings = append(rep.Warnings, warnings...)
		manifest, warnings, err := chooseModules(t, k, chosen, opts.Modules)
		if err != nil {
			return nil, err
		}
		rep.Warnings = append(rep.Warnings, warnings...)
		text, err := manifest.Encode()
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.release, err)
		}
		entries = append(entries, fileEntry(image.ManifestPath(k.release), 0o644, []byte(text)))
		how := packRare(k, chosen, manifest)
		for _, mod := range manifest.Modules {
			m := newModuleFile(k, mod.Name, how[mod.Name])
			modules = append(modules, m)
			if m.packing == unpacked {
				entries = append(entries, m.entry())
			}
		}
	}

	early, warnings, err := readMicrocode(t, chosen, want, opts.Microcode)
	if err != nil {
		return nil, err
	}
	rep.Warnings = append(rep.Warnings, warnings...)
	c := payload{comp: comp, entries: withParents(entries), modules: modules, microcode: early, allowMissing: opts.AllowMissing}

	// complete adds to the report what is known after write.
	complete := func() error {
		if err := checkStrict(t, opts, rep); err != nil {
			return err
		}
		rep.Warnings = append(rep.Warnings, advice...)
		rep.count(kernels, modules)
		rep.Seconds = time.Since(start).Seconds()
		return nil
	}
	if opts.DryRun {
		if err := write(ctx, io.Discard, t, c, rep); err != nil {
			return nil, err
		}
		if err := complete(); err != nil {
			return nil, err
		}
		return rep, nil
	}
	mode := publicMode
	if opts.Secrets != "" {
		mode = secretMode
	}
	out, err := createOutput("Output", opts.Output, mode)
	if err != nil {
		return nil, err
	}
	defer out.abort()
	var repOut *output
	if opts.Report != "" {
		if repOut, err = createOutput("Report", opts.Report, publicMode); err != nil {
			return nil, err
		}
		defer repOut.abort()
	}
	err = write(ctx, out, t, c, rep)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %s was not changed", err, opts.Output)
	case out.failed != nil:
		return nil, out.failed // Not whatever was being packed just then.
	case err != nil:
		return nil, err
	}
	if err := complete(); err != nil {
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	rep.Warnings = append(rep.Warnings, out.warnings...)
	if repOut != nil {
		if err := rep.save(repOut); err != nil {
			return nil, err
		}
		if err := repOut.finish(); err != nil {
			return nil, err
		}
		rep.Warnings = append(rep.Warnings, repOut.warnings...) // Not in the report itself.
	}
	if err := out.commit(); err != nil {
		return nil, err
	}
	if repOut != nil {
		if err := repOut.commit(); err != nil {
			return nil, err
		}
	}
	return rep, nil
}

// checkStrict refuses an image about which there are warnings, where that was
// asked for.
func checkStrict(t *tree, opts Options, rep *Report) error {
	findings := slices.Concat(rep.Warnings, missingFirmware(t, untolerated(rep.Firmware.MissingFor, opts.AllowMissing)))
	if !opts.Strict || len(findings) == 0 {
		return nil
	}
	return &OptionError{Field: "Strict", Err: &StrictError{findings}}
}
