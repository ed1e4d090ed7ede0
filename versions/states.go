package versions

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// An openFile is a file that an NFSv4 client has open, as the kernel's server names
// it: the device's numbers and the inode's.
type openFile struct {
	major, minor uint32
	inode        uint64
}

// openPattern is in each line of a client's states that is about a file: open files,
// locks and delegations (linux, fs/nfsd/nfs4state.c, nfs4_show_superblock).
var openPattern = regexp.MustCompile(`superblock: "([0-9a-f]+):([0-9a-f]+):([0-9]+)"`)

// parseStates reads which files a client has open.
func parseStates(text string) (open []openFile) {
	for _, m := range openPattern.FindAllStringSubmatch(text, -1) {
		major, err1 := strconv.ParseUint(m[1], 16, 32)
		minor, err2 := strconv.ParseUint(m[2], 16, 32)
		inode, err3 := strconv.ParseUint(m[3], 10, 64)
		if errors.Join(err1, err2, err3) == nil {
			open = append(open, openFile{uint32(major), uint32(minor), inode})
		}
	}
	return open
}

// versionsOf finds which versions of the base at path have which of the files: a file
// that did not change is in several.
func versionsOf(base string, files map[openFile]bool) (map[openFile][]string, error) {
	found := make(map[openFile][]string)
	if len(files) == 0 {
		return found, nil
	}
	root := filepath.Join(base, layout.Dir)
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		id := entry.Name()
		err := filepath.WalkDir(filepath.Join(root, id), func(_ string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // A version that is being removed.
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				return nil
			}
			f := openFile{unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino}
			if files[f] && !slices.Contains(found[f], id) {
				found[f] = append(found[f], id)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return found, nil
}

// runs are the versions that a client with these open files can run: a node has its
// init program open at least. So one that all its files are in; where no version has all of
// them, the client has several mounted, and each counts that has one of them.
// Files that no version has are of another export. nil: it is not known.
func runs(open []openFile, found map[openFile][]string) (ids []string) {
	var each []string
	first := true
	for _, f := range open {
		in := found[f]
		if len(in) == 0 {
			continue
		}
		each = append(each, in...)
		if first {
			ids, first = slices.Clone(in), false
			continue
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(in, id) })
	}
	if len(ids) == 0 {
		ids = each
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
