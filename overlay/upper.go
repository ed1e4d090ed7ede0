package overlay

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
)

// redirectAttr says that a directory of the upper layer was renamed, and from
// where (Documentation/filesystems/overlayfs.rst, "renaming directories").
const redirectAttr = "trusted.overlay.redirect"

// ShadowedFiles are those of the names, paths in the tree without links, that the upper
// layer hides: another file is there, or a whiteout. One whose size and time of
// modification are the tree's is a copy of it and hides nothing.
func ShadowedFiles(lower, upper string, names ...string) (shadowed []string) {
	for _, name := range names {
		above, err := tree.At(upper).Lstat(name)
		if err != nil {
			if _, err := tree.At(upper).Lstat(path.Join(path.Dir(name), aufsWhiteout+path.Base(name))); err == nil {
				shadowed = append(shadowed, name+" (removed)")
			}
			continue
		}
		below, err := tree.At(lower).Lstat(name)
		switch {
		case err != nil: // It hides nothing.
		case above.Mode()&fs.ModeCharDevice != 0: // A whiteout of overlayfs.
			shadowed = append(shadowed, name+" (removed)")
		case above.Size() != below.Size() || !above.ModTime().Equal(below.ModTime()):
			shadowed = append(shadowed, name)
		}
	}
	return shadowed
}

// aufsWhiteout begins the names of whiteouts of aufs.
const aufsWhiteout = ".wh."

// RedirectedDir is the first directory found in an upper layer that was renamed while
// it lay on its tree (redirect_dir=on), as "/usr/lib/x", or empty. On another tree
// what it shows is not defined. It is empty too where the search has not ended with
// ctx.
func RedirectedDir(ctx context.Context, upper string) (name string) {
	_ = filepath.WalkDir(upper, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return fs.SkipAll
		case err != nil || !d.IsDir():
			return nil // What cannot be read is passed over.
		}
		if _, err := unix.Lgetxattr(path, redirectAttr, nil); err != nil {
			return nil
		}
		name = strings.TrimPrefix(path, upper)
		return fs.SkipAll
	})
	return name
}

// UpperFiles are at most n of the files in the upper layer below a directory, as "/usr",
// without whiteouts: those that were found when ctx ended.
func UpperFiles(ctx context.Context, upper, dir string, n int) (names []string) {
	_ = filepath.WalkDir(filepath.Join(upper, dir), func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil || len(names) == n:
			return fs.SkipAll
		case err != nil || d.IsDir() || d.Type()&fs.ModeCharDevice != 0 || strings.HasPrefix(d.Name(), aufsWhiteout):
			return nil
		}
		names = append(names, strings.TrimPrefix(path, upper))
		return nil
	})
	return names
}

// ErrNotMerged says that a tree's /bin, /lib or the like is not a link into /usr, so
// that /usr is not all that programs need.
var ErrNotMerged = errors.New("is not a link into /usr")

// CheckMerged returns an ErrNotMerged that names the directory for a tree whose
// programs and libraries do not all lie in /usr.
func CheckMerged(root string) error {
	for _, name := range [...]string{"bin", "sbin", "lib", "lib64"} {
		target, err := os.Readlink(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // lib64 is not everywhere.
		}
		if err != nil || !strings.HasPrefix(strings.TrimPrefix(target, "/"), "usr/") {
			return &fs.PathError{Op: "check", Path: "/" + name, Err: ErrNotMerged}
		}
	}
	if info, err := os.Lstat(filepath.Join(root, "usr")); err != nil || !info.IsDir() {
		return &fs.PathError{Op: "check", Path: "/usr", Err: unix.ENOTDIR}
	}
	return nil
}
