package initrd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// An output is a file that appears under its name whole or not at all.
type output struct {
	field, path string // Of Options, and how the host calls it.
	folder      *folder
	temp        string // The temporary file's name in the folder.
	file        *os.File
	mode        fs.FileMode
	uid, gid    int // Who is to own it; -1 is whoever makes it.
	acl         []byte
	warnings    []string
	committed   bool
	failed      error // The first error in writing.
}

// Modes of outputs: a boot server reads them as another user, unless there are
// secrets in them.
const (
	publicMode fs.FileMode = 0o644
	secretMode fs.FileMode = 0o600
)

// checkOutputs refuses to write over another file of the options, however the
// two are spelled.
func checkOutputs(opts Options) error {
	type file struct{ field, path, what string }
	output := file{"Output", opts.Output, "the image that is written"}
	inputs := []file{
		output, {"Init", opts.Init, "the program that becomes /init"}, {"Rescue", opts.Rescue, "the rescue program"},
		{"Config", opts.Config, "the file of parameters"}, {"Secrets", opts.Secrets, "the file of secrets"},
	}
	for _, name := range hostFiles(opts.Profiles) {
		inputs = append(inputs, file{"Profiles", name, "a node's list of devices"})
	}
	for _, o := range []file{output, {"Report", opts.Report, ""}} {
		for _, other := range inputs {
			if o.field != other.field && o.path != "" && other.path != "" && samePlace(o.path, other.path) {
				return InvalidOptionf(o.field, "%s is the same file as %s: give another name", o.path, other.what)
			}
		}
	}
	return nil
}

// samePlace tells whether two paths lead to the same name in the same folder.
func samePlace(a, b string) bool {
	a, b = place(a), place(b)
	if filepath.Base(a) != filepath.Base(b) {
		return false
	}
	dirA, errA := os.Stat(filepath.Dir(a))
	dirB, errB := os.Stat(filepath.Dir(b))
	return errA == nil && errB == nil && os.SameFile(dirA, dirB)
}

// place is where a path leads. A link stays a link, a dead one too: what it
// leads to is replaced.
func place(path string) string {
	for range maxLinks {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real
		}
		target, err := os.Readlink(path)
		if err != nil {
			return path
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path
}

// createOutput opens a temporary file beside the one that path leads to. Whoever
// calls it calls abort in the end, after commit too.
func createOutput(field, path string, mode fs.FileMode) (*output, error) {
	o := &output{field: field, path: path, mode: mode, uid: -1, gid: -1}
	var err error
	o.folder, err = openFolder(path)
	foreign := (*foreignLinkError)(nil)
	switch {
	case errors.Is(err, unix.EISDIR):
		return nil, OptionErrorf(field, "%s is a directory: give the name of a file in it", path)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil, OptionErrorf(field, "%s: there is no directory %s: create it first", path, pathOf(err))
	case errors.As(err, &foreign):
		return nil, OptionErrorf(field, "%s: %w", path, err)
	case err != nil:
		return nil, o.wrap(err)
	}
	o.path = o.folder.file()
	if old := o.folder.old; old != nil {
		switch old.Mode & unix.S_IFMT {
		case unix.S_IFREG:
		case unix.S_IFDIR:
			o.folder.close()
			return nil, OptionErrorf(field, "%s is a directory: give the name of a file in it", o.path)
		default:
			o.folder.close()
			return nil, OptionErrorf(field, "%s is not a regular file, and is not replaced: give another name", o.path)
		}
	}
	o.keep()
	// A name that cannot be guessed, and never a file or a link that is there.
	o.temp = fmt.Sprintf(".%s.%s.tmp", o.folder.name, rand.Text())
	fd, err := unix.Openat(o.folder.fd, o.temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		o.folder.close()
		return nil, o.wrap(err)
	}
	o.file = os.NewFile(uintptr(fd), o.temp)
	return o, nil
}

func pathOf(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Path
	}
	return ""
}

// keep decides what of the file that is replaced the new one gets: owner, mode
// and access list, so that a boot server which was given the image still has it.
// Where everybody may make files, a file of another user was not chosen by the operator.
func (o *output) keep() {
	makes, removes := o.folder.openToAll()
	if removes {
		o.warnf("every user may replace files in %s: run chmod +t %s, or choose another directory", o.folder.path, o.folder.path)
	}
	old := o.folder.old
	if old == nil {
		return
	}
	if makes && old.Uid != 0 && int(old.Uid) != os.Geteuid() {
		o.warnf("%s belonged to user %d, in a directory where every user may write: the new file belongs to you", o.path, old.Uid)
		return
	}
	o.uid, o.gid = int(old.Uid), int(old.Gid)
	mode := fs.FileMode(old.Mode & 0o777)
	if o.mode == secretMode && mode&0o007 != 0 {
		return // Whoever could read an image without secrets was not chosen for it.
	}
	if o.mode == publicMode && mode&0o044 == 0 && o.uid == os.Geteuid() {
		o.warnf("%s keeps the mode %04o of the old file, so only its owner may read it: run chmod 644 on it if the boot server runs as another user", o.path, mode)
	}
	o.mode = mode
	o.acl = o.folder.accessList()
}

func (o *output) warnf(format string, args ...any) {
	o.warnings = append(o.warnings, fmt.Sprintf(format, args...))
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if err != nil {
		err = o.wrap(err)
		if o.failed == nil {
			o.failed = err
		}
	}
	return n, err
}

// wrap names the file that was asked for, not the temporary one.
func (o *output) wrap(err error) error {
	err = errorOf(err)
	dir, remedy := filepath.Dir(o.path), "choose another directory"
	switch {
	case errors.Is(err, fs.ErrPermission):
		remedy = "choose a directory where you may write"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "free some space there, or choose another directory"
	}
	return OptionErrorf(o.field, "%s: cannot write in %s: %w: %s", o.path, dir, err, remedy)
}

// finish puts all of the file on disk.
func (o *output) finish() error {
	o.chown()
	// Whatever the umask was. It comes last: a change of owner takes bits away.
	if err := o.chmod(); err != nil {
		return err
	}
	if err := o.file.Sync(); err != nil {
		return o.wrap(err)
	}
	if err := o.file.Close(); err != nil {
		return o.wrap(err)
	}
	return nil
}

// chown gives the file to whom the old one belonged. One who may not do that has
// a file nevertheless, and is told.
func (o *output) chown() {
	var st unix.Stat_t
	if err := unix.Fstat(int(o.file.Fd()), &st); err != nil || o.uid < 0 {
		return
	}
	if int(st.Uid) != o.uid || int(st.Gid) != o.gid {
		if err := o.file.Chown(o.uid, o.gid); err != nil {
			_ = o.file.Chown(-1, o.gid) // Of which one may be a member.
			o.warnf("%s belonged to %d:%d, and the new file cannot be given to them (%v): run initrdgen as root, or run chown %d:%d %s",
				o.path, o.uid, o.gid, errorOf(err), o.uid, o.gid, o.path)
		}
	}
	if o.acl != nil {
		if err := unix.Fsetxattr(int(o.file.Fd()), accessListName, o.acl, 0); err != nil {
			o.warnf("%s: the access list of the old file was not kept (%v): set it again with setfacl(1)", o.path, err)
		}
	}
}

// chmod gives the file its mode. A file system without modes (vfat) refuses that:
// then the file has the mode that all have there, unless it is to be a secret.
func (o *output) chmod() error {
	err := o.file.Chmod(o.mode)
	if err == nil {
		return nil
	}
	fi, statErr := o.file.Stat()
	if statErr != nil || fi.Mode().Perm()&0o077&^o.mode.Perm() != 0 && o.mode&0o007 == 0 {
		return OptionErrorf(o.field, "%s: cannot have mode %04o there, so other users could read it (%w): choose a directory on a file system that has modes",
			o.path, o.mode, errorOf(err))
	}
	return nil
}

// errorOf is an error without the name of a temporary file.
func errorOf(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// commit puts a finished file in its place.
func (o *output) commit() error {
	if err := unix.Renameat(o.folder.fd, o.temp, o.folder.fd, o.folder.name); err != nil {
		return o.wrap(err)
	}
	o.committed = true
	// The rename itself is on disk with the directory. Not every file system
	// can do that, and the image is whole either way.
	if fd, err := unix.Openat(o.folder.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		_ = unix.Fsync(fd)
		_ = unix.Close(fd)
	}
	o.folder.close()
	return nil
}

// abort removes the temporary file. After commit it does nothing.
func (o *output) abort() {
	if o.committed {
		return
	}
	_ = o.file.Close()
	_ = unix.Unlinkat(o.folder.fd, o.temp, 0)
	o.folder.close()
}

// WriteFile writes a file as Build writes its image: whole or not at all, with owner,
// mode and access list of the one that it replaces. A secret is for its owner alone.
// An error that is about the name is an *OptionError for Output.
func WriteFile(name string, secret bool, content []byte) (warnings []string, err error) {
	mode := publicMode
	if secret {
		mode = secretMode
	}
	out, err := createOutput("Output", name, mode)
	if err != nil {
		return nil, err
	}
	defer out.abort()
	if _, err := out.Write(content); err != nil {
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	return out.warnings, out.commit()
}
