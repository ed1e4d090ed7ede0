package initrd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is the kernel's own limit (MAXSYMLINKS in include/linux/namei.h).
const maxLinks = 40

// A folder is where an output goes: an open directory, so that nothing that is
// renamed on the way to it leads elsewhere later, and a name in it.
type folder struct {
	fd   int
	path string // How the host calls it, without links.
	name string
	// old is what has the name now; nil where nothing has.
	old *unix.Stat_t
}

// A foreignLinkError says that a link on the way to an output is another user's,
// who could lead the file of whoever follows it to any place.
type foreignLinkError struct {
	link, target string
	uid          uint32
}

func (e *foreignLinkError) Error() string {
	return fmt.Sprintf("%s is a link to %s that belongs to user %d, and links of other users are not followed: give the file itself, or remove the link",
		e.link, e.target, e.uid)
}

// openFolder finds where a path leads. Links are followed, a dead one too, but
// only root's and one's own: Linux does the same in /tmp and its like
// (fs.protected_symlinks), and a server's folder may be the server's.
func openFolder(name string) (*folder, error) {
	f := &folder{fd: -1}
	rest, start := strings.Split(name, "/"), "."
	if filepath.IsAbs(name) {
		start = "/"
	}
	if err := f.enter(unix.AT_FDCWD, start, start); err != nil {
		return nil, err
	}
	for links := 0; len(rest) > 0; {
		word := rest[0]
		rest = rest[1:]
		if word == "" || word == "." {
			if len(rest) == 0 {
				f.close()
				return nil, unix.EISDIR // A path that ends in a slash.
			}
			continue
		}
		path := filepath.Join(f.path, word)
		target, owner, err := f.readlink(word)
		switch {
		case err != nil && len(rest) > 0:
			f.close()
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		case target != "":
			if links++; links > maxLinks {
				f.close()
				return nil, &os.PathError{Op: "open", Path: path, Err: unix.ELOOP}
			}
			if owner != 0 && owner != uint32(os.Geteuid()) {
				f.close()
				return nil, &foreignLinkError{link: path, target: target, uid: owner}
			}
			if filepath.IsAbs(target) {
				if err := f.enter(unix.AT_FDCWD, "/", "/"); err != nil {
					return nil, err
				}
			}
			rest = append(strings.Split(target, "/"), rest...)
		case len(rest) > 0 || word == "..":
			if err := f.enter(f.fd, word, path); err != nil {
				return nil, err
			}
			if len(rest) == 0 {
				f.close()
				return nil, unix.EISDIR
			}
		default:
			f.name = word
			return f, f.stat()
		}
	}
	f.close()
	return nil, unix.EISDIR
}

// enter goes on to a directory.
func (f *folder) enter(at int, word, path string) error {
	fd, err := unix.Openat(at, word, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	f.close()
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	f.fd, f.path = fd, path
	return nil
}

// readlink gives the target of a link and its owner, "" for anything else. It
// looks at one and the same link for both.
func (f *folder) readlink(word string) (target string, owner uint32, err error) {
	fd, err := unix.Openat(f.fd, word, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", 0, err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", 0, err
	}
	return string(buf[:n]), st.Uid, nil
}

func (f *folder) stat() error {
	var st unix.Stat_t
	err := unix.Fstatat(f.fd, f.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		f.close()
		return &os.PathError{Op: "stat", Path: f.file(), Err: err}
	default:
		f.old = &st
	}
	return nil
}

// file is the path of the output itself.
func (f *folder) file() string { return filepath.Join(f.path, f.name) }

// openToAll tells whether everybody may make files in the folder, and whether
// everybody may remove those of others too.
func (f *folder) openToAll() (makes, removes bool) {
	var st unix.Stat_t
	if unix.Fstat(f.fd, &st) != nil || st.Mode&0o002 == 0 {
		return false, false
	}
	return true, st.Mode&unix.S_ISVTX == 0
}

func (f *folder) close() {
	if f.fd >= 0 {
		_ = unix.Close(f.fd)
	}
	f.fd = -1
}

// accessListName is the attribute in which Linux keeps a POSIX access list
// (include/uapi/linux/xattr.h).
const accessListName = "system.posix_acl_access"

// accessList is that of the old file; nil where it has none, or none that can be
// read.
func (f *folder) accessList() []byte {
	fd, err := unix.Openat(f.fd, f.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	n, err := unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", fd), accessListName, buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}
