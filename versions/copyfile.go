package versions

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

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
	c.stats.Copied++
	for offset := int64(0); ; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		offset = nextData(in, offset, st.Size)
		if offset >= st.Size {
			break
		}
		n, err := in.ReadAt(c.buf[:min(int64(len(c.buf)), st.Size-offset)], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return &ChangedError{c.path(rel)}
		}
		if err := c.write(out, c.buf[:n], offset, rel); err != nil {
			return err
		}
		offset += int64(n)
		c.stats.Bytes += int64(n)
	}
	return c.disk.do("truncate", rel, func() error { return unix.Ftruncate(int(out.Fd()), st.Size) })
}

// nextData is where a file has data at or after an offset; size where it has none.
// A lastlog can be a sparse file of terabytes, which takes hours to read. Where the file
// system does not tell of holes, it is the offset.
func nextData(f *os.File, offset, size int64) int64 {
	next, err := unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size
	}
	if err != nil {
		return offset
	}
	return next
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
	if err != nil || !sameXattrs(attributes, oldAttributes) {
		return false, err
	}
	return sameBytes(c.ctx, in, f, st.Size, c.buf, c.old)
}

// sameBytes tells whether two files of a size have the same content. The buffers are
// of one length.
func sameBytes(ctx context.Context, x, y *os.File, size int64, bufX, bufY []byte) (bool, error) {
	for offset := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		offset = min(nextData(x, offset, size), nextData(y, offset, size))
		if offset >= size {
			return true, nil
		}
		n := min(int64(len(bufX)), size-offset)
		for _, read := range []struct {
			f   *os.File
			buf []byte
		}{{x, bufX[:n]}, {y, bufY[:n]}} {
			_, err := read.f.ReadAt(read.buf, offset)
			if errors.Is(err, io.EOF) {
				return false, nil // It has become shorter.
			}
			if err != nil {
				return false, err
			}
		}
		if !bytes.Equal(bufX[:n], bufY[:n]) {
			return false, nil
		}
		offset += n
	}
}
