// Package rwlayer makes what becomes /rw, the node's own half of the union: a
// tmpfs of a given size. Upper and work directory are made in it.
//
// It reads the words sidus.rw= and sidus.rw.size=, by way of Options.
package rwlayer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Upper and Work are the directories within /rw that the union uses.
const (
	Upper = "upper"
	Work  = "work"
)

// Options say what /rw is to be.
type Options struct {
	// Size is the tmpfs's size= text. It is a limit, not an allocation.
	Size string
}

// MountFunc is mount(2).
type MountFunc func(device, dir, fstype string, flags uintptr, data string) error

// Tmpfs mounts a tmpfs on dir and makes the upper and the work directory in
// it. Its mode is 0755: the root of the upper directory is what users see as
// "/", and one that everybody may write is a hole.
func Tmpfs(mount MountFunc, dir string, o Options) error {
	data := "mode=0755,size=" + o.Size
	if err := mount("sidusboot-rw", dir, "tmpfs", 0, data); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("rwlayer: tmpfs on %s with %s: %w: is sidus.rw.size= a number, with k, m, g or %%?", dir, data, err)
		}
		return fmt.Errorf("rwlayer: tmpfs on %s with %s: %w", dir, data, err)
	}
	return makeDirs(dir)
}

// makeDirs makes what the union needs in /rw, with the modes that it needs.
func makeDirs(dir string) error {
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{Upper, 0o755}, {Work, 0o700}} {
		path := filepath.Join(dir, d.name)
		if err := os.Mkdir(path, d.mode); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("rwlayer: %w", err)
		}
		// A link would make the union write somewhere else.
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			return fmt.Errorf("rwlayer: %s of the volume is no directory: %w: what it is was not made by a node; remove it", d.name, errors.Join(unix.ENOTDIR, err))
		}
		if err := os.Chmod(path, d.mode); err != nil {
			return fmt.Errorf("rwlayer: %w", err)
		}
	}
	return nil
}
