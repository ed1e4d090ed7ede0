// Package mounts reads mountinfo, takes mounts away and changes the root.
package mounts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Point is a line of mountinfo.
type Point struct {
	Dir, Type string
	// Source is what is mounted, Options are those of its superblock.
	Source, Options string
	// Data says that something may not be written yet.
	Data bool
}

// LeavesFirst orders mounts so that each comes before what it is mounted on.
// The kernel's own order is that of their making, and the union, which was made
// late, has older ones moved into it.
func LeavesFirst(mounts []Point) []Point {
	depth := func(m Point) int { return strings.Count(strings.TrimSuffix(m.Dir, "/"), "/") }
	deepest := 0
	for _, m := range mounts {
		deepest = max(deepest, depth(m))
	}
	// A generic stable sort would be 5 kB of /init.
	var sorted []Point
	for d := deepest; d >= 0; d-- {
		for _, m := range slices.Backward(mounts) { // Of two on one directory, the later is on top.
			if depth(m) == d {
				sorted = append(sorted, m)
			}
		}
	}
	return sorted
}

// Read reads mountinfo (proc_pid_mountinfo(5)) in its order.
func Read(path string) ([]Point, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(f), nil
}

// Parse is Read for a file that is open.
func Parse(mountinfo io.Reader) (all []Point) {
	for s := bufio.NewScanner(mountinfo); s.Scan(); {
		fields := strings.Fields(s.Text())
		dash := slices.Index(fields, "-")
		if len(fields) < 5 || dash < 0 || dash+1 >= len(fields) {
			continue
		}
		m := Point{Dir: Unescape(fields[4]), Type: fields[dash+1]}
		if len(fields) > dash+3 {
			m.Source, m.Options = fields[dash+2], fields[dash+3]
		}
		// Major 0 is what has no device of its own; btrfs has a number of these.
		m.Data = !strings.HasPrefix(fields[2], "0:") || slices.Contains([]string{"overlay", "aufs", "btrfs"}, m.Type)
		all = append(all, m)
	}
	return all
}

// Unescape undoes the octal escapes of mountinfo and of fstab(5).
func Unescape(s string) string {
	for _, pair := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, pair[0], pair[1])
	}
	return s
}

// SwitchRoot makes dir the root directory of this process and of all that
// follow.
func SwitchRoot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the new root to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot into the new root: %w", err)
	}
	return unix.Chdir("/")
}

// Detach takes away whatever is mounted on the directories, topmost first.
func Detach(dirs ...string) error {
	for _, dir := range dirs {
		for {
			err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // Nothing is mounted there.
				break
			}
			if err != nil {
				return fmt.Errorf("unmount %s: %w", dir, err)
			}
		}
	}
	return nil
}

// movedSuffix ends the name of what was in the place of a mount point.
const movedSuffix = ".moved-by-sidusboot"

// MakeMountPoint makes the directory name below root, for something to be mounted there.
// What is in its place, a link perhaps, is renamed, and its new name returned:
// nothing is mounted through a link, and nothing is lost.
func MakeMountPoint(root, name string) (replaced string, err error) {
	dir := filepath.Join(root, name)
	info, err := os.Lstat(dir)
	if err == nil && info.IsDir() {
		return "", nil
	}
	if err == nil {
		replaced = name + movedSuffix
		if err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, dir+movedSuffix, unix.RENAME_NOREPLACE); err != nil {
			return replaced, fmt.Errorf("rename %s, which is not a directory, to %s: %w: replace it by a directory", name, replaced, err)
		}
	}
	return replaced, os.Mkdir(dir, 0o755)
}
