package bootdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/initrd"
)

// A dir is the directory of a boot server. Names are relative to it, and no link
// leads out of it.
type dir struct {
	root     *os.Root
	name     string
	dry      bool
	changes  []Change
	warnings []string
	lock     *os.File
}

// openDir opens the directory and keeps others from changing it meanwhile.
func openDir(name, own string, dry bool) (*dir, error) {
	switch info, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, initrd.OptionErrorf("Dir", "there is no directory %s: give the one that the boot server offers, or create it first", name)
	case err != nil:
		return nil, initrd.OptionErrorf("Dir", "%w", err)
	case !info.IsDir():
		return nil, initrd.OptionErrorf("Dir", "%s is not a directory: give the one that the boot server offers", name)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, initrd.OptionErrorf("Dir", "%w: run initrdgen as a user who may read and write there", err)
	}
	d := &dir{root: root, name: own, dry: dry}
	if d.lock, err = root.Open("."); err != nil {
		root.Close()
		return nil, initrd.OptionErrorf("Dir", "%w: run initrdgen as a user who may read and write there", err)
	}
	// The lock is the kernel's, and ends with this process.
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, initrd.OptionErrorf("Dir", "another initrdgen install is running in %s: wait until it has finished", name)
		}
		return nil, initrd.OptionErrorf("Dir", "lock %s: %w", name, err)
	}
	if info, err := root.Lstat(own); err == nil && !info.IsDir() {
		d.close()
		return nil, initrd.OptionErrorf("Name", "%s is not a directory: choose another name, or remove it", filepath.Join(name, own))
	}
	return d, nil
}

func (d *dir) close() {
	if d.lock != nil {
		d.lock.Close()
	}
	d.root.Close()
}

// path is how the host calls a file, for messages.
func (d *dir) path(name string) string { return filepath.Join(d.root.Name(), name) }

func (d *dir) warnf(format string, args ...any) {
	d.warnings = append(d.warnings, fmt.Sprintf(format, args...))
}

func (d *dir) note(name, action string) {
	if c := (Change{name, action}); !slices.Contains(d.changes, c) {
		d.changes = append(d.changes, c)
	}
}

// wrap says what to do about an error in writing.
func (d *dir) wrap(name string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	if le := (*os.LinkError)(nil); errors.As(err, &le) {
		err = le.Err
	}
	remedy, field := "check the directory", ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		remedy = "run initrdgen as a user who may write there"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "free some space there, or keep fewer versions"
		field = "Keep"
	case errors.Is(err, syscall.EROFS):
		remedy = "mount its file system read-write"
	}
	err = fmt.Errorf("%s: %w: %s", d.path(name), err, remedy)
	if field != "" {
		err = initrd.WithRemedy(err, field)
	}
	return err
}

// maxText is the most that a file of configuration may have.
const maxText = 1 << 20

// read reads a small regular file.
func (d *dir) read(name string) ([]byte, error) {
	name, err := d.follow(name)
	if err != nil {
		return nil, err
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(name), cause(err))
	}
	if !info.Mode().IsRegular() || info.Size() > maxText {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes: remove it, or correct it", d.path(name), maxText)
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(name), cause(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(name), cause(err))
	}
	return text, nil
}

// cause is an error without the names of a file.
func cause(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// maxLinks is the kernel's own limit (MAXSYMLINKS in include/linux/namei.h).
const maxLinks = 40

// follow is where a name leads inside the directory: boot servers often have their
// configuration behind links.
func (d *dir) follow(name string) (string, error) {
	done, rest := ".", strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		// There is no link in done, so that .. is what is before it.
		next := path.Join(done, rest[0])
		rest = rest[1:]
		if next == ".." {
			return "", fmt.Errorf("%s is a link that leads out of %s: let it lead to a file in that directory", d.path(name), d.root.Name())
		}
		target, err := d.root.Readlink(next)
		if err != nil {
			done = next // No link, or not there yet.
			continue
		}
		if path.IsAbs(target) {
			return "", fmt.Errorf("%s is a link to the absolute path %s, which a boot server that sees only its own directory cannot follow: make it a relative link", d.path(next), target)
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s is a loop of links: remove it", d.path(name))
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}

// mkdir makes a directory that all may read, and those above it.
func (d *dir) mkdir(name string) error {
	if name == "." {
		return nil
	}
	if info, err := d.root.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	if err := d.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := d.root.Mkdir(name, 0o755); err != nil {
		return d.wrap(name, err)
	}
	if err := d.root.Chmod(name, 0o755); err != nil { // Whatever the umask was.
		return d.wrap(name, err)
	}
	d.sync(path.Dir(name))
	return nil
}

// list lists a directory; one that is not there is empty.
func (d *dir) list(name string) []fs.DirEntry {
	f, err := d.root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, _ := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

// removeAll removes a version. One that cannot be removed does no harm.
func (d *dir) removeAll(name string) {
	if _, err := d.root.Lstat(name); err != nil {
		return
	}
	d.note(name, "removed")
	if d.dry {
		return
	}
	if err := d.root.RemoveAll(name); err != nil {
		d.warnf("%s cannot be removed: %v", d.path(name), cause(err))
	}
}
