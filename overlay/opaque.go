package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// opaqueAttr marks a directory below which overlayfs does not look for another
// one (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque
// directories").
const opaqueAttr = "trusted.overlay.opaque"

// MakeOpaque makes directories of the upper layer that hide the tree's own of that
// name: those on which something will be mounted. It is for overlayfs, before
// the mount. Without it overlayfs has the server asked about the directory of
// the tree, every minute or so, on the way to what is mounted there
// (ovl_dentry_revalidate): with a server that is gone nobody, not even PID 1,
// gets at /run, /dev, /proc or /sys. A name that is no directory in the tree is
// left alone, and so is what a full volume or an immutable directory (chattr +i)
// does not take: it is only missed when a server is gone.
func MakeOpaque(lower, upper string, names ...string) error {
	for _, name := range names {
		if info, err := os.Lstat(filepath.Join(lower, name)); err != nil || !info.IsDir() {
			continue
		}
		dir := filepath.Join(upper, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) && !refused(err) {
			return fmt.Errorf("overlay: %w", err)
		}
		// Not through a link, which may have been left there.
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			continue
		}
		err := unix.Lsetxattr(dir, opaqueAttr, []byte("y"), 0)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !refused(err) {
			return fmt.Errorf("overlay: make %s opaque: %w", dir, err)
		}
	}
	return nil
}

// refused tells whether a directory takes nothing new.
func refused(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EPERM)
}
