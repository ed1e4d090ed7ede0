package initrd

import (
	"cmp"
	"context"
	"io"
	"slices"
)

// A payload is what goes into an image.
type payload struct {
	comp      compressor
	entries   []entry
	modules   []*moduleFile
	microcode []microcode
	// allowMissing is Options.AllowMissing.
	allowMissing []string
}

// write packs everything into out. Firmware comes last, because the modules
// say which.
func write(ctx context.Context, out io.Writer, t *tree, c payload, rep *Report) error {
	entries, modules := c.entries, c.modules
	packed := &counter{ctx: ctx, w: out}
	if err := writeMicrocode(ctx, packed, c.microcode, rep); err != nil {
		return err
	}
	cw, err := c.comp.write(packed)
	if err != nil {
		return err
	}
	unarchived := &counter{ctx: ctx, w: cw}
	a, err := newArchive(unarchived)
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
	for _, m := range modules {
		if m.err != nil {
			return m.err
		}
	}
	if err := checkArch(t, modules); err != nil {
		return err
	}

	have := make(map[string]bool)
	for _, f := range a.files {
		have[f.Path] = true
	}
	firmware, missing, without, err := packFirmware(t, modules)
	if err != nil {
		return err
	}
	rep.takeFirmware(missing, without, c.allowMissing)
	missing = untolerated(missing, c.allowMissing)
	without = slices.DeleteFunc(without, func(driver string) bool { return missing[driver] == nil })
	if len(without) > 0 {
		rep.Warnings = append(rep.Warnings, withoutFirmware(t, without, missing))
	}
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
	rep.Files, rep.Unpacked = append(rep.Files, a.files...), rep.Unpacked+unarchived.n
	if err := writeRare(ctx, packed, modules, rep); err != nil {
		return err
	}
	rep.Packed = packed.n
	return nil
}

// writeRare adds an archive that is not compressed, of the modules that are.
func writeRare(ctx context.Context, w *counter, modules []*moduleFile, rep *Report) error {
	var entries []entry
	for _, m := range modules {
		if m.packing != unpacked {
			entries = append(entries, m.entry())
		}
	}
	if len(entries) == 0 {
		return nil
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	// The kernel looks for such an archive at multiples of four.
	if _, err := w.Write(make([]byte, padding(w.n))); err != nil {
		return err
	}
	before := w.n
	a := appendArchive(w)
	if err := a.add(ctx, entries); err != nil {
		return err
	}
	if err := a.close(); err != nil {
		return err
	}
	rep.Files = append(rep.Files, a.files...)
	rep.Unpacked += w.n - before
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
