package initrd

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sidusboot/sidusboot/image"
)

// A moduleFile is a module on its way from the tree into the image.
type moduleFile struct {
	release, name string
	file, path    string // Below lib/modules/RELEASE, and in the tree.
	packing       packing

	done     chan struct{} // Closed when what follows is set.
	data     []byte
	packed   []byte // What is stored of one that is packed.
	arch     arch
	firmware []string
	err      error
}

// maxImage is the most that the modules of an image come to, unpacked, and the
// firmware: a node has all of it in memory.
const maxImage = 2 << 30

func newModuleFile(k *kernel, name string, how packing) *moduleFile {
	return &moduleFile{
		release: k.release, name: name, file: k.files[name], packing: how,
		path: path.Join(modulesDir, k.release, k.files[name]),
		done: make(chan struct{}),
	}
}

// entry is the module in the archive.
func (m *moduleFile) entry() entry {
	e := fileEntry(image.ModulePath(m.release, m.name)+string(m.packing), 0o644, nil)
	e.data = func(ctx context.Context) ([]byte, error) {
		select {
		case <-m.done:
			if m.packing != unpacked {
				return m.packed, m.err
			}
			return m.data, m.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return e
}

// loadModules reads the modules, several at a time and in order, while the
// first of them are being packed already. It returns when all are read; the
// error is that of the archive, which names the first one that failed.
func loadModules(ctx context.Context, t *tree, modules []*moduleFile) {
	var g errgroup.Group
	var total atomic.Int64
	atOnce := runtime.GOMAXPROCS(0)
	g.SetLimit(atOnce)
	p, err := newPacker(atOnce)
	for _, m := range modules {
		g.Go(func() error {
			defer close(m.done)
			if m.err = cmp.Or(err, ctx.Err()); m.err == nil {
				m.err = m.load(t, p)
			}
			if total.Add(int64(len(m.data))) > maxImage && m.err == nil {
				m.data, m.err = nil, fmt.Errorf("%s: with it the modules are more than %d MB, unpacked: choose fewer profiles or kernels, or find out why this module is so large",
					t.path(m.path), maxImage>>20)
			}
			return nil
		})
	}
	_ = g.Wait()
}

func (m *moduleFile) load(t *tree, p packer) error {
	f, err := m.read(t)
	if err != nil {
		return err
	}
	m.arch = archOf(f)
	if m.firmware, err = firmwareNames(f); err != nil {
		return m.broken(t, err)
	}
	if m.packing == packedZstd {
		m.packed = p.pack(m.data)
	}
	return nil
}

func (m *moduleFile) read(t *tree) (*elf.File, error) {
	raw, err := t.readFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w, but modules.dep lists it: install its package again, or run depmod -b %s %s", err, t.dir, m.release)
	}
	if err != nil {
		return nil, err
	}
	if m.data, err = decompress(m.path, raw); err != nil {
		return nil, m.broken(t, err)
	}
	if m.packing == packedXz {
		m.packed = raw
	}
	f, err := openModule(m.data)
	if err != nil {
		return nil, m.broken(t, err)
	}
	return f, nil
}

func (m *moduleFile) broken(t *tree, err error) error {
	return fmt.Errorf("%s: %w: install the package that has it again, or remove it and run depmod -b %s %s",
		t.path(m.path), err, t.dir, m.release)
}
