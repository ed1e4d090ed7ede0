package bootdir

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// write gives a small file a new content, unless it has it already. A file that
// is there keeps its mode and its owner. A link in its place is followed.
func (d *dir) write(name string, text []byte) error {
	name, err := d.follow(name)
	if err != nil {
		return err
	}
	mode, uid, gid := fs.FileMode(0o644), -1, -1
	switch info, err := d.root.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return d.wrap(name, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file: remove it, if nothing needs it", d.path(name))
	default:
		if old, err := d.read(name); err == nil && bytes.Equal(old, text) {
			return nil
		}
		mode = info.Mode().Perm()
		if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid()) {
			uid, gid = int(st.Uid), int(st.Gid)
		}
	}
	d.note(name, "written")
	if d.dry {
		return nil
	}
	return d.replace(name, mode, func(f *os.File) error {
		if uid >= 0 {
			if err := f.Chown(uid, gid); err != nil {
				_ = f.Chown(-1, gid)
				d.warnf("%s belonged to %d:%d, and the new file cannot be given to them (%v): run initrdgen as root, or run chown %d:%d %s",
					d.path(name), uid, gid, cause(err), uid, gid, d.path(name))
			}
		}
		_, err := f.Write(text)
		return err
	})
}

// digest is that of a file.
func (d *dir) digest(name string) (string, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", d.path(name), cause(err))
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", d.path(name))
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("%s: %w", d.path(name), cause(err))
	}
	defer f.Close()
	return digest(context.Background(), f)
}

// copy puts a large file into its place, unless it is there already with that
// content, mode and owner.
func (d *dir) copy(ctx context.Context, name string, from *os.File, sha string, mode fs.FileMode, owner int) error {
	if info, err := d.root.Lstat(name); err == nil && info.Mode().IsRegular() && info.Mode().Perm() == mode {
		st, ok := info.Sys().(*syscall.Stat_t)
		if got, err := d.digest(name); err == nil && got == sha && ok && (owner < 0 || int(st.Uid) == owner) {
			return nil
		}
	}
	d.note(name, "written")
	if d.dry {
		return nil
	}
	return d.replace(name, mode, func(f *os.File) error {
		// The owner first: at no time may another user read what is secret.
		if owner >= 0 {
			if err := f.Chown(owner, -1); err != nil {
				return err
			}
		}
		h := sha256.New()
		if err := copyFile(ctx, io.MultiWriter(f, h), from); err != nil {
			return err
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != sha {
			return fmt.Errorf("%s changed while it was copied: run initrdgen install again", from.Name())
		}
		return nil
	})
}

// temporary ends the name of a file that is being written.
const temporary = ".sidusboot-tmp"

// replace makes a file under another name and then puts it into its place, whole
// and on the disk, or not at all.
func (d *dir) replace(name string, mode fs.FileMode, fill func(*os.File) error) (err error) {
	parent := path.Dir(name)
	if err := d.mkdir(parent); err != nil {
		return err
	}
	d.sweep(parent)
	temp := path.Join(parent, "."+path.Base(name)+"."+rand.Text()[:10]+temporary)
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return d.wrap(name, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = d.root.Remove(temp)
			err = d.wrap(name, err)
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	// Whatever the umask was. A file system without modes (vfat) refuses it.
	if err := f.Chmod(mode); err != nil {
		if info, statErr := f.Stat(); statErr != nil || mode&0o077 == 0 && info.Mode().Perm()&0o077 != 0 {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := d.root.Rename(temp, name); err != nil {
		return err
	}
	d.sync(parent)
	return nil
}

// sweep removes what an install that was killed left: nobody else writes here
// while this process has the lock.
func (d *dir) sweep(parent string) {
	for _, e := range d.list(parent) {
		if strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), temporary) {
			_ = d.root.Remove(path.Join(parent, e.Name()))
		}
	}
}

// sync puts the names in a directory on the disk. Not every file system can do
// that, and each file is whole either way.
func (d *dir) sync(name string) {
	if f, err := d.root.Open(name); err == nil {
		_ = f.Sync()
		f.Close()
	}
}

// digest reads a file from its beginning.
func digest(ctx context.Context, f *os.File) (string, error) {
	h := sha256.New()
	if err := copyFile(ctx, h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// copyFile copies a file from its beginning, until ctx ends.
func copyFile(ctx context.Context, w io.Writer, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := f.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
