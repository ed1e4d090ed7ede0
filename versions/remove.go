package versions

import (
	"errors"
	"io/fs"

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
	return d.removeOn(dir, name, st, st.Dev)
}

func (d *disk) removeOn(dir int, name string, st unix.Stat_t, dev uint64) error {
	if st.Dev != dev {
		return &MountError{name}
	}
	if !isType(st, unix.S_IFDIR) {
		return d.unlink(dir, name, 0)
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
		if err := d.removeOn(sub, inner, st, dev); err != nil {
			return err
		}
	}
	return d.unlink(dir, name, unix.AT_REMOVEDIR)
}
