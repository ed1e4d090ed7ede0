package sidusnode

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

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// Where things are on a node.
const (
	// Dir is what sidusboot leaves for people and programs.
	Dir   = "/run/sidusboot"
	roDir = image.ReadOnly
	rwDir = image.ReadWrite
)

// The probes that may hang, by what they are about. They run in a process of
// their own.
const (
	probeFill   = "how full /rw is"
	probeStamp  = "the stamp of the tree"
	probeForget = "the names of the tree that the kernel has cached"
	probeNames  = "files of the tree"
	probeBase   = "which version of the tree is current"
	probeIdle   = "whether this node is idle"
)

// What a probe writes. doing comes before each one, so that the process that waits
// can say what had no answer.
const (
	saidDoing   = "doing"
	saidEnd     = "end"
	saidFailure = "failure"
)

// probe runs the probes that are named and writes what they find. It may hang for as
// long as a server or a disk does not answer.
func probe(w io.Writer, names []string, f Facts) error {
	var failed error
	say := func(key, value string) {
		if _, err := io.WriteString(w, line(key, value)); err != nil {
			failed = err
		}
	}
	for _, name := range names {
		say(saidDoing, name)
		var err error
		switch name {
		case probeFill:
			err = fill(say)
		case probeStamp:
			err = stamp(say)
		case probeForget:
			err = forget(say)
		case probeNames:
			err = openNames(say)
		case probeBase:
			err = current(say, f)
		case probeIdle:
			err = idle(say)
		default:
			return fmt.Errorf("there is no probe %q", name)
		}
		if err != nil {
			say(saidFailure, err.Error())
		}
	}
	say(saidEnd, "")
	return failed
}

func fill(say func(key, value string)) error {
	var st unix.Statfs_t
	if err := unix.Statfs(rwDir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: rwDir, Err: err}
	}
	size := uint64(st.Bsize)
	say("total", fmt.Sprint(st.Blocks*size))
	say("used", fmt.Sprint((st.Blocks-st.Bfree)*size))
	return nil
}

// noStamp is what the probe says where the tree has none.
const noStamp = "none"

// stamp looks at the tree below the union. To open a file is to ask the server, whatever
// the client remembers of it.
func stamp(say func(key, value string)) error {
	file, err := tree.At(roDir).Open(layout.Stamp)
	if errors.Is(err, fs.ErrNotExist) {
		say("stamp", noStamp)
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, layout.MaxStamp))
	if err != nil {
		return fmt.Errorf("%s: %w", layout.Stamp, err)
	}
	say("stamp", strings.TrimSpace(string(text)))
	return nil
}

// forget reconfigures the superblocks of the union and of the tree without
// changing anything: the kernel drops all names in them that are not in use
// (fs/super.c, reconfigure_super).
func forget(say func(key, value string)) error {
	for _, dir := range []string{"/", roDir} {
		if err := reconfigure(dir); err != nil {
			return fmt.Errorf("reconfigure %s: %w", dir, err)
		}
	}
	say("forgot", "")
	return nil
}

func reconfigure(dir string) error {
	fd, err := unix.Fspick(unix.AT_FDCWD, dir, unix.FSPICK_CLOEXEC|unix.FSPICK_NO_AUTOMOUNT)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.FsconfigReconfigure(fd)
}

// openNames opens the files that a node cannot run without, through the union, and tells
// which are stale.
func openNames(say func(key, value string)) error {
	maps, err := os.ReadFile("/proc/1/maps")
	if err != nil { // For root only.
		maps = nil
	}
	for _, name := range essentialFiles(string(maps)) {
		err := read(name)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		case errors.Is(err, unix.ESTALE):
			say("stale", name)
		default:
			return err
		}
	}
	return nil
}

// read opens a file and reads its first byte.
func read(name string) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Pread(fd, make([]byte, 1), 0); err != nil {
		return &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return nil
}

// essentialFiles are those without which a node fails as a whole: the init program,
// the dynamic linker and libc as PID 1 uses them, and some that others read.
// maps is PID 1's (proc_pid_maps(5)): these names need no look-up.
func essentialFiles(maps string) []string {
	names := []string{"/sbin/init", "/etc/ld.so.cache", "/etc/passwd", "/var/lib/dpkg/status"}
	for l := range strings.Lines(maps) {
		_, name, ok := strings.Cut(l, "/")
		if !ok {
			continue
		}
		name = "/" + strings.TrimSuffix(strings.TrimSuffix(name, "\n"), " (deleted)")
		base := path.Base(name)
		if base == "systemd" || strings.HasPrefix(base, "ld-") || strings.HasPrefix(base, "libc.so") || strings.HasPrefix(base, "libc-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// current looks which version of the base is current. The base is mounted for
// that, for a moment and where nobody else sees it: this process has a mount
// namespace of its own.
func current(say func(key, value string), f Facts) error {
	if err := unix.Mount(f.Base, Dir, "nfs", unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, f.Data); err != nil {
		return fmt.Errorf("mount %s: %w", f.Base, err)
	}
	target, err := os.Readlink(filepath.Join(Dir, layout.Current))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Base, err)
	}
	id, err := layout.ParseCurrent(target)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Base, err)
	}
	say("current", id)
	return nil
}
