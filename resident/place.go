package resident

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/mounts"
)

// movedTo is where the resident processes' file system is on its way to being
// their root. It is in the initramfs, which PID 1 empties.
const movedTo = "/resident"

// moveOut gives this process a mount namespace with nothing in it but
// residentDir as its root, and /proc, /sys and /dev of its own. It was started
// in a copy of PID 1's namespace. Whatever stayed mounted here would keep a file
// system from being unmounted at the end of the node; and what is mounted here
// must not be visible to others: a /proc without hidepid=, a /sys that can be written.
func moveOut() error {
	// Its root is the one that it was opened under.
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Mkdir(movedTo, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(residentDir, movedTo, "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to %s: %w", residentDir, movedTo, err)
	}
	if err := leaveMounts(f); err != nil {
		return err
	}
	if err := mounts.SwitchRoot(movedTo); err != nil {
		return err
	}
	for _, m := range []struct {
		dir, fstype string
		flags       uintptr
		data        string
	}{
		{"/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"/dev", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0700,size=64k"},
	} {
		if err := unix.Mount(m.fstype, m.dir, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.dir, err)
		}
	}
	// Numbers as in Documentation/admin-guide/devices.txt.
	for _, d := range []struct {
		name  string
		minor uint32
	}{{"null", 3}, {"kmsg", 11}} {
		if err := unix.Mknod("/dev/"+d.name, unix.S_IFCHR|0o600, int(unix.Mkdev(1, d.minor))); err != nil {
			return fmt.Errorf("mknod /dev/%s: %w", d.name, err)
		}
	}
	return nil
}

// leaveMounts takes everything off but the root and movedTo, by a mountinfo that
// can be read again.
func leaveMounts(mountinfo *os.File) error {
	var failed error
	for range 2 { // The second time there must be nothing left.
		if _, err := mountinfo.Seek(0, io.SeekStart); err != nil {
			return err
		}
		failed = nil
		for _, m := range mounts.LeavesFirst(mounts.Parse(mountinfo)) {
			if m.Dir == "/" || m.Dir == movedTo {
				continue
			}
			failed = errors.Join(failed, fmt.Errorf("%s (%s) is still mounted", m.Dir, m.Type))
			if err := unix.Unmount(m.Dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("unmount %s: %w", m.Dir, err)
			}
		}
	}
	return failed
}

// lockDown is what each process does for itself: no core file, no page that
// could be swapped out or dropped, no end when memory is short.
func lockDown() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("disable core dumps: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("disable core dumps: %w", err)
	}
	// ONFAULT: Go reserves far more than it uses. Memory that is used is locked
	// from then on, and memory that is not has no page that could be away.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("mlockall: %w", err)
	}
	if err := lockProgram(); err != nil {
		return err
	}
	// The kernel must not choose the ones that can bring the disk back.
	return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
}

// lockProgram locks the program itself, also those of its pages that have not
// been used yet: they lie in a tmpfs, and could be swapped out, onto the disk
// that they are to bring back. It has to be possible to run it again at any
// time, so that what is writable, and thus soon a copy, is mapped once more.
func lockProgram() error {
	program, err := os.Open("/" + residentName)
	if err != nil {
		return err
	}
	defer program.Close()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		line = strings.TrimSuffix(line, "\n")
		m, ok := parseMapping(line)
		if !ok {
			continue
		}
		if err := mlock(m.start, m.size); err != nil {
			return fmt.Errorf("lock %s: %w", line, err)
		}
		if !m.writable {
			continue
		}
		// It is never unmapped.
		again, err := unix.MmapPtr(int(program.Fd()), m.offset, nil, m.size, unix.PROT_READ, unix.MAP_SHARED)
		if err == nil {
			err = mlock(uintptr(again), m.size)
		}
		if err != nil {
			return fmt.Errorf("map %s: %w", line, err)
		}
	}
	return nil
}

// mlock is mlock(2): all pages of the range are in memory when it returns.
func mlock(start, size uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_MLOCK, start, size, 0); errno != 0 {
		return errno
	}
	return nil
}

// A mapping is a part of a file in memory.
type mapping struct {
	start, size uintptr
	offset      int64
	writable    bool
}

// parseMapping reads a line of /proc/PID/maps (proc_pid_maps(5)) that maps a
// file.
func parseMapping(line string) (m mapping, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[4] == "0" {
		return m, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	start, errStart := strconv.ParseUint(from, 16, 64)
	end, errEnd := strconv.ParseUint(to, 16, 64)
	offset, errOffset := strconv.ParseInt(fields[2], 16, 64)
	m = mapping{start: uintptr(start), size: uintptr(end - start), offset: offset, writable: strings.Contains(fields[1], "w")}
	return m, errors.Join(errStart, errEnd, errOffset) == nil && start < end
}

// asFlusher runs f in a thread whose memory is never made free by writing to a
// disk (PR_SET_IO_FLUSHER, Linux 5.6): a process that f starts inherits that, in
// all of its threads, and those that it starts in turn. Who brings the disk back
// would wait for itself otherwise. An older kernel has no such thing.
func asFlusher(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0) == nil {
		defer func() { _ = unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0) }()
	}
	return f()
}
