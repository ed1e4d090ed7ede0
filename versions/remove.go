package versions

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// removeAll removes a name and everything below it. It does not leave the file
// system: what is mounted in there is a *MountError and stays.
func (d *disk) removeAll(dir int, name string) error {
	st, err := statAt(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.removeOn(dir, name, name, st, st.Dev)
}

// removeOn removes the name in dir that is called rel in messages.
func (d *disk) removeOn(dir int, name, rel string, st unix.Stat_t, dev uint64) error {
	if st.Dev != dev {
		return &MountError{rel}
	}
	unlink := func(flags int) error {
		return d.do("unlink", rel, func() error { return unix.Unlinkat(dir, name, flags) })
	}
	if !isType(st, unix.S_IFDIR) {
		return unlink(0)
	}
	sub, err := openDir(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(sub)
	all, err := names(sub)
	if err != nil {
		return err
	}
	for _, inner := range all {
		st, err := statAt(sub, inner)
		if err != nil {
			return err
		}
		if err := d.removeOn(sub, inner, filepath.Join(rel, inner), st, dev); err != nil {
			return err
		}
	}
	return unlink(unix.AT_REMOVEDIR)
}
