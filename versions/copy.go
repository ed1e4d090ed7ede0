package versions

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// Stats count what a copy of a tree took.
type Stats struct {
	// Files are all names but directories.
	Files int `json:"files"`
	// Linked files are hard links to the version before.
	Linked int `json:"linked"`
	// Cloned files share their blocks with staging (FICLONE).
	Cloned int `json:"cloned"`
	// Copied files were read and written, and Bytes is how much that was.
	Copied int   `json:"copied"`
	Bytes  int64 `json:"bytes"`
}

// A MountError is a file system that is mounted inside a tree.
type MountError struct{ Path string }

func (e *MountError) Error() string {
	return e.Path + " is on another file system than its tree: unmount it (a chroot's /proc, /sys or /dev?), then try again"
}

// A ChangedError is a tree that changed while it was copied.
type ChangedError struct{ Path string }

func (e *ChangedError) Error() string {
	return e.Path + " changed while it was copied: wait until no program changes the tree, then try again"
}

type inode struct{ dev, ino uint64 }

// A copier copies one tree. Names are taken relative to open directories, so
// that no link in the tree leads anywhere.
type copier struct {
	disk *disk
	ctx  context.Context
	dev  uint64
	root int // of the copy
	base inode
	from string
	// done are the files with several names, by where their first one is.
	done     map[inode]string
	cannot   bool // FICLONE does not work here
	stats    Stats
	progress func(Stats)
	buf, old []byte
}

const (
	bufBytes      = 256 << 10
	progressEvery = 500
)

// copyTree copies the directory src, which is called from in messages, to name
// in dir, which must not exist; but not what was set aside in src. Files that are
// in the tree prev already, under the same name with the same content, owner, mode,
// time and attributes, become hard links to it; prev may be -1.
func (b *Base) copyTree(ctx context.Context, src int, from string, dir int, name string, prev int, progress func(Stats)) (Stats, error) {
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return Stats{}, err
	}
	var base unix.Stat_t
	if err := unix.Fstat(b.dir, &base); err != nil {
		return Stats{}, err
	}
	c := &copier{
		base: inode{base.Dev, base.Ino},
		disk: b.disk, ctx: ctx, dev: st.Dev, from: from, done: make(map[inode]string), progress: progress,
		buf: make([]byte, bufBytes), old: make([]byte, bufBytes),
	}
	if err := b.disk.mkdir(dir, name); err != nil {
		return Stats{}, err
	}
	root, err := openDir(dir, name)
	if err != nil {
		return Stats{}, err
	}
	defer unix.Close(root)
	// A default ACL of the base's would be in everything below, and open to
	// others what is root's in the tree (acl(5), OBJECT CREATION).
	for _, name := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
		err := b.disk.do("removexattr "+name, "", func() error { return unix.Lremovexattr(self(root), name) })
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return Stats{}, err
		}
	}
	c.root = root
	if err := c.directory(src, root, prev, ""); err != nil {
		return c.stats, err
	}
	if progress != nil {
		progress(c.stats)
	}
	return c.stats, nil
}

// directory copies what is in src to dst, and then src's own attributes.
func (c *copier) directory(src, dst, prev int, rel string) error {
	var before, after unix.Stat_t
	if err := unix.Fstat(src, &before); err != nil {
		return err
	}
	all, err := names(src)
	if err != nil {
		return &fs.PathError{Op: "read", Path: c.path(rel), Err: err}
	}
	for _, name := range all {
		if rel == "" && name == layout.Aside {
			continue // What was replaced in the tree.
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(src, dst, prev, name, filepath.Join(rel, name)); err != nil {
			return err
		}
	}
	if err := unix.Fstat(src, &after); err != nil {
		return err
	}
	if before.Ctim != after.Ctim {
		return &ChangedError{c.path(rel)}
	}
	return c.attributes(self(src), self(dst), before, rel)
}

func (c *copier) entry(src, dst, prev int, name, rel string) error {
	st, err := statAt(src, name)
	if errors.Is(err, fs.ErrNotExist) {
		return &ChangedError{c.path(rel)}
	}
	if err != nil {
		return err
	}
	if st.Dev != c.dev {
		return &MountError{c.path(rel)}
	}
	if isType(st, unix.S_IFDIR) {
		if (inode{st.Dev, st.Ino}) == c.base {
			return &LayoutError{c.path(rel), "is the base itself, and is inside the tree that is copied into it", "make the base outside the tree"}
		}
		return c.subdirectory(src, dst, prev, name, rel)
	}
	c.stats.Files++
	if c.progress != nil && c.stats.Files%progressEvery == 0 {
		c.progress(c.stats)
	}
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		if first, ok := c.done[key]; ok {
			return c.disk.link(c.root, first, dst, name)
		}
		c.done[key] = rel
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.file(src, dst, prev, name, rel, st)
	case unix.S_IFLNK:
		target, err := os.Readlink(at(src, name))
		if err != nil {
			return err
		}
		if err := c.disk.symlink(target, dst, name); err != nil {
			return err
		}
	default:
		if err := c.disk.mknod(dst, name, st.Mode, int(st.Rdev)); err != nil {
			return err
		}
	}
	return c.attributes(at(src, name), at(dst, name), st, rel)
}

func (c *copier) subdirectory(src, dst, prev int, name, rel string) error {
	from, err := openDir(src, name)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	if err := c.disk.mkdir(dst, name); err != nil {
		return err
	}
	to, err := openDir(dst, name)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	old := -1
	if prev >= 0 {
		if old, err = openDir(prev, name); err == nil {
			defer unix.Close(old)
		}
	}
	return c.directory(from, to, old, rel)
}

func (c *copier) path(rel string) string { return filepath.Join(c.from, rel) }

// at is a path to a name in an open directory. The last part is not followed
// by the calls that get it, which are all of the kind that does not, or are
// made for what is known to be no link.
func at(dir int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
}

// self is a path to an open directory.
func self(dir int) string { return at(dir, ".") }
