// Package union makes the root of a node: the node's own layer over the shared
// tree, tested, with the directories on which the real init's mounts go. It says
// whether the tree or the layer is the cause of a failure, and keeps a node usable
// whose volume is full. Package overlay mounts the layers.
package union

import (
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// A Builder makes the union of a tree and a layer.
type Builder struct {
	System overlay.System
	// Lower is where the tree is mounted, RW what package rwlayer has mounted.
	Lower, RW string
	// Dir is where the union is mounted.
	Dir string
	// Full and Trial are directories for a tmpfs: the one that lies over a volume
	// without any space, and one over which a union is tried.
	Full, Trial string
	// Kept: RW outlives this boot.
	Kept bool
	// RefuseFull: a layer that is kept and full is an error. Without it the union is
	// made all the same, so that a user can delete files.
	RefuseFull bool
	// Size is that of the tmpfs in Full.
	Size string
	// Init is the program that was asked for as the tree's init, or empty.
	Init string
	// MountPoints are the directories of the union on which something will be mounted.
	MountPoints []string
	// Logf is told what does not stop the boot, Note what the administrator should
	// correct.
	Logf func(format string, args ...any)
	Note func(text string)
}

// Mount makes and tests the union of the layers.
func (b *Builder) Mount(kind overlay.Kind) error {
	layers := b.layers(b.RW)
	layers.Kept = b.Kept
	if kind == overlay.Overlay {
		if err := overlay.MakeOpaque(layers.Lower, layers.Upper, b.MountPoints...); err != nil {
			return err
		}
	}
	checkWrite := overlay.CheckWrite
	if b.Kept {
		checkWrite = b.checkKept
	}
	err := overlay.Mount(b.System, kind, layers, b.Dir, b.check(checkWrite))
	if b.Kept && b.needsTmpfs(kind, err) {
		err = b.stackTmpfs(layers, err)
	}
	if err != nil {
		return err
	}
	return b.makeMountPoints()
}

// Upper is the layer's directory over the tree.
func (b *Builder) Upper() string { return b.RW + "/" + rwlayer.Upper }

// layers are the tree and the layer in rw.
func (b *Builder) layers(rw string) overlay.Layers {
	return overlay.Layers{
		Lower: b.Lower, Upper: rw + "/" + rwlayer.Upper, Work: rw + "/" + rwlayer.Work,
		XIno: rw + "/.aufs.xino", Source: rw,
	}
}

// check returns a test of a union: that it shows the tree, and that checkWrite
// succeeds.
func (b *Builder) check(checkWrite func(dir string) error) func(dir string) error {
	return func(dir string) error {
		if err := overlay.CheckTree(tree.At(b.Lower), tree.At(dir), b.Init); err != nil {
			return err
		}
		return checkWrite(dir)
	}
}

// makeMountPoints makes the directories that the mounts are going to be moved
// to in the union: a tree need not have /ro and /rw.
func (b *Builder) makeMountPoints() error {
	for _, name := range b.MountPoints {
		replaced, err := mounts.MakeMountPoint(b.Dir, name)
		if replaced != "" {
			b.Note(name + " is not a directory, but a mount point is needed there: it was renamed to " + replaced)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
