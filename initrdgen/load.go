package main

import (
	"context"
	"fmt"
	"path"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/sidusboot/sidusboot/image"
)

// A moduleFile is a module on its way from the tree into the image.
type moduleFile struct {
	release, name, path string

	done     chan struct{} // Closed when what follows is set.
	data     []byte
	firmware []string
	doubt    error // Why this may be no module.
	err      error
}

func newModuleFile(k *kernel, name string) *moduleFile {
	return &moduleFile{
		release: k.release, name: name,
		path: path.Join(modulesDir, k.release, k.files[name]),
		done: make(chan struct{}),
	}
}

// entry is the module in the archive, plain whatever it was in the tree.
func (m *moduleFile) entry() entry {
	e := fileEntry(image.ModulePath(m.release, m.name), 0o644, nil)
	e.data = func(ctx context.Context) ([]byte, error) {
		select {
		case <-m.done:
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
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, m := range modules {
		g.Go(func() error {
			defer close(m.done)
			if m.err = ctx.Err(); m.err == nil {
				m.err = m.load(t)
			}
			return nil
		})
	}
	_ = g.Wait()
}

func (m *moduleFile) load(t *tree) error {
	raw, err := t.readFile(m.path)
	if err != nil {
		return fmt.Errorf("%w: modules.dep names it: install the package again, or run depmod -b %s %s", err, t.dir, m.release)
	}
	if m.data, err = decompress(m.path, raw); err != nil {
		return fmt.Errorf("%s: %w: install the package that it is from again", t.path(m.path), err)
	}
	m.firmware, m.doubt = firmwareNames(m.data)
	return nil
}
