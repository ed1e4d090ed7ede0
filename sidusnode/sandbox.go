package sidusnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// oldDir is where the tree that the node runs is in the sandbox.
const oldDir = "/old"

// enterSandbox gives this process, which has a mount namespace of its own, a root
// directory in a tmpfs, in which the mount points of the boot are empty. All that
// is mounted there is gone when the process ends, however it does. Its /run is not
// the node's: what belongs there is there since the boot.
func enterSandbox() error {
	const dir = Dir + "/sandbox"
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := unix.Mount("sidusboot", dir, "tmpfs", unix.MS_NOSUID, "mode=0700,size=1m"); err != nil {
		return fmt.Errorf("tmpfs on %s: %w", dir, err)
	}
	for _, d := range [...][2]string{
		{"/proc", "/proc"}, {"/sys", "/sys"}, {"/dev", "/dev"}, {oldDir, roDir}, {oldRW, rwDir}, {roDir}, {rwDir}, {unionDir}, {"/run"},
	} {
		name, from := d[0], d[1]
		if err := os.Mkdir(dir+name, 0o755); err != nil {
			return err
		}
		if from == "" {
			continue
		}
		if err := unix.Mount(from, dir+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", from, err)
		}
	}
	if err := unix.Chroot(dir); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// mountVersion mounts a version of the node's base on roDir in the sandbox, and
// tries in it what a boot needs.
func mountVersion(f Facts, r *Recipe, id string) error {
	source := f.Base + "/" + layout.Dir + "/" + id
	err := unix.Mount(source, roDir, "nfs", unix.MS_RDONLY|unix.MS_NODEV, r.Options)
	// mountd of version 3 refuses what does not exist.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s has no version %s for this node: %w", f.Base, id, err)
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", source, err)
	}
	if err := tree.At(roDir).Check(r.Init); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}

// sameFile tells whether a file is the same in both trees, as far as its size and
// time tell.
func sameFile(name string) bool {
	a, errA := tree.At(oldDir).Stat(name)
	b, errB := tree.At(roDir).Stat(name)
	if errA != nil || errB != nil {
		return errA != nil && errB != nil
	}
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// names are those of what is in a directory of a tree.
func names(root, dir string) (all []string) {
	entries, err := tree.At(root).ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		all = append(all, filepath.Base(e.Name()))
	}
	return all
}
