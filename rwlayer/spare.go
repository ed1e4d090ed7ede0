package rwlayer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A volume that is full to its last block would never boot again: the union
// needs a directory and a few files before a user can log in and delete
// something. So a little of it is kept in files that hold nothing, the spare,
// which are removed when the volume is found full and made again when the union
// stands. The system of a full volume gets half of what is left, so that it has
// something to work with and there is always something for the next boot.
const (
	// spareDir is on the volume, beside the upper directory.
	spareDir  = ".sidusboot-spare"
	spareFile = "space"
	// spareBytes and spareInodes are what is kept of a volume that has them.
	spareBytes  = 8 << 20
	spareInodes = 128
	// sparePart: of a small volume, that part of its size.
	sparePart = 32
	// minBytes and minInodes are just enough for /init: of so little nothing is
	// left to the system.
	minBytes  = 1 << 20
	minInodes = 32
	// stepBytes is the least that is worth keeping.
	stepBytes = 4 << 10
)

// A Usage says how full a file system is.
type Usage struct {
	// Bytes is its size, Used what is taken of it, Avail what users other than
	// root may still write.
	Bytes, Used, Avail uint64
	// Inodes is zero where there is no limit.
	Inodes, FreeInodes uint64
}

// usageOf asks the file system that holds dir.
func usageOf(dir string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Usage{}, fmt.Errorf("rwlayer: statfs %s: %w", dir, err)
	}
	size := uint64(st.Bsize)
	return Usage{
		Bytes: st.Blocks * size, Used: (st.Blocks - st.Bfree) * size, Avail: st.Bavail * size,
		Inodes: st.Files, FreeInodes: st.Ffree,
	}, nil
}

// Full tells whether it has, for users or for root, less left than the spare is.
func (u Usage) Full() bool { return int64(u.Avail) < u.spare() || u.fewInodes() }

func (u Usage) fewInodes() bool { return u.Inodes > 0 && u.FreeInodes < spareInodes }

// spare is how much is kept of a file system of this size.
func (u Usage) spare() int64 { return int64(min(spareBytes, u.Bytes/sparePart)) }

// String is the usage as df(1) counts it.
func (u Usage) String() string {
	percent := uint64(0)
	if total := u.Used + u.Avail; total > 0 {
		percent = (u.Used*100 + total - 1) / total
	}
	text := fmt.Sprintf("%d %% of %d MiB used", percent, u.Bytes>>20)
	if u.Inodes > 0 {
		text += fmt.Sprintf(", %d of %d inodes free", u.FreeInodes, u.Inodes)
	}
	return text
}

// FreeSpare removes the spare of the volume at dir where root finds less space
// than that, and returns how full the volume was before.
func FreeSpare(dir string) (u Usage, spent bool, err error) {
	u, err = usageOf(dir)
	if err != nil || !u.fewInodes() && hasRoom(dir, u.spare()) {
		return u, false, err
	}
	return u, true, freeSpare(dir)
}

// hasRoom tries: a file system may hold back some of what it calls free
// (ext4's reserved clusters, metadata of btrfs).
func hasRoom(dir string, bytes int64) bool {
	f, err := createFile(filepath.Join(dir, spareDir+"-probe"))
	if err != nil {
		return !full(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return !full(unix.Fallocate(int(f.Fd()), 0, 0, bytes))
}

// createFile makes an empty file, instead of what a power cut has left of it.
func createFile(name string) (*os.File, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
}

func freeSpare(dir string) error {
	spare := filepath.Join(dir, spareDir)
	// There may be a link.
	if info, err := os.Lstat(spare); err != nil || !info.IsDir() {
		return nil
	}
	names := []string{spareFile}
	for i := range spareInodes {
		names = append(names, strconv.Itoa(i))
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(spare, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("rwlayer: free the spare file: %w", err)
		}
	}
	f, err := os.Open(spare)
	if err != nil {
		return fmt.Errorf("rwlayer: free the spare file: %w", err)
	}
	defer f.Close()
	// A journal frees space when it is written.
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("rwlayer: free the spare file: %w", err)
	}
	return nil
}

// MakeSpare makes the spare of the volume at dir, as large as it can be, where
// there is none, or a small one although there is space.
func MakeSpare(dir string) error {
	u, err := usageOf(dir)
	if err == nil {
		err = makeSpare(dir, u)
	}
	if err != nil && !full(err) {
		return fmt.Errorf("rwlayer: make the spare file: %w", err)
	}
	return nil
}

func makeSpare(dir string, u Usage) error {
	spare := filepath.Join(dir, spareDir)
	err := os.Mkdir(spare, 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if info, err := os.Lstat(spare); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a directory: remove it", spareDir)
	}
	err = makeSpareSpace(filepath.Join(spare, spareFile), u.spare())
	if u.Inodes == 0 {
		return err
	}
	return errors.Join(err, makeSpareInodes(spare, u.FreeInodes))
}

func makeSpareInodes(spare string, free uint64) error {
	name := func(i int) string { return filepath.Join(spare, strconv.Itoa(i)) }
	if _, err := os.Lstat(name(spareInodes - 1)); err == nil {
		return nil
	}
	for i := range inodeShare(free) {
		f, err := os.OpenFile(name(i), os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// inodeShare is how many of the free inodes the spare takes.
func inodeShare(free uint64) int {
	if free > minInodes {
		return int(min(spareInodes, free/2))
	}
	return int(free) - int(free)/8
}

// makeSpareSpace makes the file of the spare: of the size that is wanted where four
// times as much is free, else of half of what is free, or of all of it where
// that is hardly enough for /init.
func makeSpareSpace(name string, want int64) error {
	if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() && info.Size() >= want {
		return nil
	}
	f, err := createFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	allocate := func(from, bytes int64) error { return unix.Fallocate(int(f.Fd()), 0, from, bytes) }
	if err = allocate(0, 4*want); !full(err) {
		return errors.Join(err, f.Truncate(want))
	}
	size := want
	for ; size >= stepBytes; size /= 2 {
		// What was allocated before the end was reached is freed.
		if err := f.Truncate(0); err != nil {
			return err
		}
		if err = allocate(0, size); !full(err) {
			break
		}
	}
	switch {
	case err != nil:
		return errors.Join(err, f.Truncate(0))
	case size > minBytes:
		return f.Truncate(size / 2)
	}
	for more := size; more >= stepBytes; more /= 2 {
		if allocate(size, more) == nil {
			size += more
		}
		if err := f.Truncate(size); err != nil {
			return err
		}
	}
	return nil
}

// full tells whether there is no space for something.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
