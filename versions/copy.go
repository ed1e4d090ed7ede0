package versions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	return e.Path + " changed while it was copied: wait until the programs that work in the tree have ended, then try again"
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
// in dir, which must not exist; but not what was set aside in src. Files that are in the tree prev already, under
// the same name with the same content, owner, mode, time and attributes, become
// hard links to it; prev may be -1.
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
			return &LayoutError{c.path(rel), "is the base itself, inside the tree that is copied into it", "make the base outside of the tree"}
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

// file links, clones or copies a regular file.
func (c *copier) file(src, dst, prev int, name, rel string, st unix.Stat_t) error {
	fd, err := unix.Openat(src, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: c.path(rel), Err: err}
	}
	in := os.NewFile(uintptr(fd), c.path(rel))
	defer in.Close()
	if prev >= 0 {
		same, err := c.unchanged(in, at(src, name), prev, name, st)
		if err != nil {
			return err
		}
		if same {
			err := c.disk.link(prev, name, dst, name)
			if err == nil {
				c.stats.Linked++
				return nil
			}
			// As many names as the file system can do, or somebody has made the
			// version's file immutable.
			if !errors.Is(err, unix.EMLINK) && !errors.Is(err, unix.EPERM) {
				return err
			}
		}
	}
	out, err := c.disk.create(dst, name)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := c.content(in, out, rel, st); err != nil {
		return err
	}
	var after unix.Stat_t
	if err := unix.Fstat(fd, &after); err != nil {
		return err
	}
	// The link count changes the time too, and is no change of the file.
	if after.Size != st.Size || after.Mtim != st.Mtim || after.Ino != st.Ino {
		return &ChangedError{c.path(rel)}
	}
	if err := c.attributes(at(src, name), at(dst, name), st, rel); err != nil {
		return err
	}
	return out.Close()
}

func (c *copier) content(in, out *os.File, rel string, st unix.Stat_t) error {
	if !c.cannot && st.Size > 0 {
		err := c.disk.do("clone", rel, func() error { return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) })
		if err == nil {
			c.stats.Cloned++
			return nil
		}
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTTY) {
			return err
		}
		c.cannot = true
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	c.stats.Copied++
	var size int64
	for {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(in, c.buf)
		if n > 0 {
			if err := c.write(out, c.buf[:n], size, rel); err != nil {
				return err
			}
			size += int64(n)
			c.stats.Bytes += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if size != st.Size {
		return &ChangedError{c.path(rel)}
	}
	return c.disk.do("truncate", rel, func() error { return unix.Ftruncate(int(out.Fd()), size) })
}

// write leaves holes where there are only zeros.
func (c *copier) write(out *os.File, p []byte, offset int64, rel string) error {
	if len(bytes.TrimLeft(p, "\x00")) == 0 {
		return nil
	}
	return c.disk.do("write", rel, func() error {
		_, err := out.WriteAt(p, offset)
		return err
	})
}

// unchanged tells whether prev has the same file under the same name.
func (c *copier) unchanged(in *os.File, path string, prev int, name string, st unix.Stat_t) (bool, error) {
	old, err := statAt(prev, name)
	if err != nil || old.Mode != st.Mode || old.Uid != st.Uid || old.Gid != st.Gid || old.Size != st.Size || old.Mtim != st.Mtim {
		return false, nil
	}
	if old.Ino == st.Ino {
		return false, nil // Staging was made of a version by hard links: what is written to it must not reach the next one.
	}
	fd, err := unix.Openat(prev, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	attributes, err := xattrs(path)
	if err != nil {
		return false, err
	}
	oldAttributes, err := xattrs(at(prev, name))
	if err != nil || !equal(attributes, oldAttributes) {
		return false, err
	}
	return sameBytes(c.ctx, in, f, c.buf, c.old)
}

// sameBytes tells whether two files have the same content from where they are.
func sameBytes(ctx context.Context, x, y io.Reader, bufX, bufY []byte) (bool, error) {
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, errX := io.ReadFull(x, bufX)
		m, errY := io.ReadFull(y, bufY)
		if !bytes.Equal(bufX[:n], bufY[:m]) {
			return false, nil
		}
		endX := errors.Is(errX, io.EOF) || errors.Is(errX, io.ErrUnexpectedEOF)
		endY := errors.Is(errY, io.EOF) || errors.Is(errY, io.ErrUnexpectedEOF)
		switch {
		case endX && endY:
			return true, nil
		case errX != nil && !endX:
			return false, errX
		case errY != nil && !endY:
			return false, errY
		}
	}
}

// attributes gives a file the owner, mode, extended attributes and times of
// another. The owner comes first: changing it takes setuid and capabilities
// away.
func (c *copier) attributes(src, dst string, st unix.Stat_t, rel string) error {
	set := func(call string, f func() error) error { return c.disk.do(call, rel, f) }
	if err := set("chown", func() error { return unix.Lchown(dst, int(st.Uid), int(st.Gid)) }); err != nil {
		return err
	}
	if !isType(st, unix.S_IFLNK) {
		if err := set("chmod", func() error { return unix.Chmod(dst, st.Mode&0o7777) }); err != nil {
			return err
		}
	}
	attributes, err := xattrs(src)
	if err != nil {
		return err
	}
	for _, a := range attributes {
		if err := set("setxattr "+a.name, func() error { return unix.Lsetxattr(dst, a.name, a.value, 0) }); err != nil {
			return err
		}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	return set("utimes", func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, dst, times, unix.AT_SYMLINK_NOFOLLOW) })
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

type xattr struct {
	name  string
	value []byte
}

// xattrs are a file's extended attributes, in order of their names.
func xattrs(path string) ([]xattr, error) {
	list, err := read(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.EOPNOTSUPP) || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the attributes of %s: %w", path, err)
	}
	var all []xattr
	var attributeNames []string
	for _, name := range bytes.Split(bytes.TrimSuffix(list, []byte{0}), []byte{0}) {
		attributeNames = append(attributeNames, string(name))
	}
	for _, name := range sorted(attributeNames) {
		value, err := read(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if err != nil {
			return nil, fmt.Errorf("read the attribute %s of %s: %w", name, path, err)
		}
		all = append(all, xattr{name, value})
	}
	return all, nil
}

// read calls a function that tells a size first, and again when that grew.
func read(f func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := f(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = f(b)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		return b[:max(n, 0)], err
	}
}

func equal(a, b []xattr) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].name != b[i].name || !bytes.Equal(a[i].value, b[i].value) {
			return false
		}
	}
	return true
}
