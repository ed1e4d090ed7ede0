package versions

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

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

type xattr struct {
	name  string
	value []byte
}

// xattrs are a file's extended attributes, in order of their names.
func xattrs(path string) ([]xattr, error) {
	list, err := readSized(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
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
		value, err := readSized(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if err != nil {
			return nil, fmt.Errorf("read the attribute %s of %s: %w", name, path, err)
		}
		all = append(all, xattr{name, value})
	}
	return all, nil
}

// readSized calls a function that tells a size first, and again when that grew.
func readSized(f func([]byte) (int, error)) ([]byte, error) {
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

func sameXattrs(a, b []xattr) bool {
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
