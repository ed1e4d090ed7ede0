package versions

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// A Version is one of a base, as List tells of it.
type Version struct {
	Note
	Current bool `json:"current"`
	// Kernels are the releases in its lib/modules.
	Kernels []string `json:"kernels"`
	// Own is how many bytes would be free if it were removed. Where files are
	// clones it is more than that, since they share blocks.
	Own int64 `json:"own_bytes"`
}

// List returns the versions, newest first. It reads every directory of them.
func (b *Base) List() ([]Version, error) {
	current, err := b.Current()
	if err != nil {
		return nil, err
	}
	notes, err := b.notes()
	if err != nil {
		return nil, err
	}
	all := make([]Version, 0, len(notes))
	for _, n := range notes {
		v := Version{Note: n, Current: n.ID == current, Kernels: b.kernels(n.ID)}
		dir, err := openDir(b.all, n.ID)
		if errors.Is(err, fs.ErrNotExist) {
			continue // Another sidustree has removed it meanwhile.
		}
		if err != nil {
			return nil, err
		}
		seen := make(map[inode]uint64)
		err = own(dir, seen, &v.Own)
		_ = unix.Close(dir)
		if errors.Is(err, fs.ErrNotExist) && b.exists(n.ID) != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// own adds up the blocks of inodes that have no name outside of a directory.
func own(dir int, seen map[inode]uint64, sum *int64) error {
	all, err := names(dir)
	if err != nil {
		return err
	}
	for _, name := range all {
		st, err := statAt(dir, name)
		if err != nil {
			return err
		}
		if isType(st, unix.S_IFDIR) {
			*sum += st.Blocks * blockBytes
			sub, err := openDir(dir, name)
			if err != nil {
				return err
			}
			err = own(sub, seen, sum)
			_ = unix.Close(sub)
			if err != nil {
				return err
			}
			continue
		}
		key := inode{st.Dev, st.Ino}
		seen[key]++
		if seen[key] == uint64(st.Nlink) {
			*sum += st.Blocks * blockBytes
			delete(seen, key)
		}
	}
	return nil
}

// blockBytes is the unit of st_blocks (stat(2)).
const blockBytes = 512

// kernels are the releases that a version has modules of. A link in the version
// leads nowhere else.
func (b *Base) kernels(id string) []string {
	t := tree.At(filepath.Join(b.path, layout.Dir, id))
	releases := []string{}
	for _, dir := range []string{"usr/lib/modules", "lib/modules"} {
		inside, err := t.Resolve(dir)
		if err != nil {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(b.path, layout.Dir, id, inside))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if _, err := t.Stat(filepath.Join(dir, e.Name(), "modules.dep")); err == nil {
				releases = append(releases, e.Name())
			}
		}
		if len(releases) > 0 {
			break
		}
	}
	return releases
}
