package source

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
)

// A Mounter mounts a node's tree.
type Mounter struct {
	NFS *nfs.Mounter
	// Dir is where the tree is mounted.
	Dir string
	// Version is the ID of the version that is wanted of a base; empty for the one
	// that is current.
	Version string
	// Lease leads to the servers.
	Lease *network.Lease
	// WaitFor is told what is waited for, Logf what went wrong before a tree was
	// mounted, Note what the administrator should correct.
	WaitFor func(what string)
	Logf    func(format string, args ...any)
	Note    func(text string)
}

// A Root is a tree that is mounted.
type Root struct {
	// Source has it: the server, and the path of the tree itself.
	Source
	// NFS is the version of NFS.
	NFS string
	// Version is the ID of the mounted version; empty for a plain tree. Base is where
	// it is.
	Version string
	Base    nfs.Source
}

// Mount mounts the tree from the first source that has it. A single server is
// waited for; of several, the next one is tried when one does not answer or fails,
// and again from the first until ctx ends.
func (m *Mounter) Mount(ctx context.Context, sources []Source) (Root, error) {
	if len(sources) == 1 {
		if err := m.awaitNextHop(ctx, sources[0].Addr); err != nil {
			return Root{}, err
		}
		return m.mountOne(ctx, sources[0])
	}
	reported := map[string]bool{}
	for {
		silent := false
		var errs []error
		for i, s := range sources {
			var root Root
			m.WaitFor("the NFS server " + s.Addr.String())
			err := m.NFS.Answers(ctx, s.Source)
			if err != nil {
				silent = true
				err = &nfs.MountError{Source: s.Source, Version: s.Source.Version, Err: err}
			} else {
				// One that answers and then hangs must leave time for the others.
				deadline, _ := ctx.Deadline()
				share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(sources)-i))
				root, err = m.mountOne(share, s)
				cancel()
			}
			if err == nil {
				return root, nil
			}
			errs = append(errs, err)
			if text := err.Error(); !reported[text] {
				reported[text] = true
				m.Logf("%v; trying the next of %d servers", err, len(sources))
			}
		}
		// Where all of them answer, another try would end in the same way.
		if !silent || ctx.Err() != nil {
			return Root{}, errors.Join(errs...)
		}
		select {
		case <-ctx.Done():
			return Root{}, errors.Join(errs...)
		case <-time.After(pause + rand.N(pause)):
		}
	}
}

// pause is the least time between two rounds over all servers.
const pause = time.Second

// mountOne mounts a source, or, where that is a base, a version in it.
func (m *Mounter) mountOne(ctx context.Context, s Source) (Root, error) {
	m.WaitFor("the NFS server " + s.Addr.String())
	root, err := m.mountSource(ctx, s)
	if errors.Is(err, fs.ErrNotExist) {
		m.NoteNested(root.Source.Source, "3", "") // It may lie in one.
	}
	return root, err
}
