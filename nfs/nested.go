package nfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// deeper are the directories of a tree below which a file system of its own is
// looked for, too.
var deeper = []string{"/usr", "/var", "/opt", "/srv"}

// Nested are the directories of the tree in dir, as "/usr", at which another
// file system of the server's begins (a ZFS child, another disk): a union shows
// nothing of it, or an error, and version 3 often an empty directory. What the
// mount shows is asked of the kernel, which knows where it would mount what is
// below (fs/nfs/namespace.c); of the rest mountd knows, where version 3 is
// served. An empty dir says that the tree is not mounted.
func (m *Mounter) Nested(ctx context.Context, src Source, version, dir string) []string {
	var exported []string
	if version == "3" {
		all, _ := m.exports(ctx, src)
		exported = below(src.Path, all)
	}
	if dir == "" {
		return exported
	}
	var found []string
	done := panics.Go(func() error {
		found = automounts(dir)
		for _, name := range exported {
			if isAutomount(dir + name) {
				found = append(found, name)
				continue
			}
			// One that shows something is an export of its own on the tree's own
			// file system.
			entries, err := os.ReadDir(dir + name)
			if len(entries) == 0 && !errors.Is(err, fs.ErrNotExist) {
				found = append(found, name)
			}
		}
		return nil
	})
	select {
	case <-done:
	case <-ctx.Done():
		return nil
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// below are the paths below root, seen from there.
func below(root string, paths []string) (nested []string) {
	prefix := strings.TrimSuffix(root, "/") + "/"
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(p, prefix); ok && rest != "" {
			nested = append(nested, "/"+rest)
		}
	}
	return nested
}

// automounts looks at the upper two levels of a tree.
func automounts(dir string) (found []string) {
	for _, parent := range append([]string{"/"}, deeper...) {
		if slices.Contains(found, parent) {
			continue // To look into it would mount it.
		}
		entries, err := os.ReadDir(dir + parent)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := path.Join(parent, e.Name())
			if e.IsDir() && isAutomount(dir+name) {
				found = append(found, name)
			}
		}
	}
	return found
}

// isAutomount tells whether the kernel would mount something on a directory, or
// has done so, and does not let it.
func isAutomount(dir string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &st)
	return err == nil && st.Attributes&(unix.STATX_ATTR_AUTOMOUNT|unix.STATX_ATTR_MOUNT_ROOT) != 0
}
