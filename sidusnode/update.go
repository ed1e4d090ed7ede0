package sidusnode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// An updateCall is what was asked for.
type updateCall struct{ way, id string }

// parseUpdate reads the arguments of the verb.
func parseUpdate(args []string) (c updateCall, err error) {
	named := false
	for i := 0; i < len(args); i++ {
		way := ""
		switch arg := args[i]; {
		case arg == "--soft":
			way = soft
		case arg == "--kexec":
			way = kexec
		case arg == "--reboot":
			way = reboot
		case arg == "--to" && i+1 < len(args):
			i++
			c.id, named = args[i], true
		case strings.HasPrefix(arg, "--to="):
			c.id, named = strings.TrimPrefix(arg, "--to="), true
		default:
			return c, fmt.Errorf("update: unknown argument %q: see sidusnode --help", arg)
		}
		if way != "" && c.way != "" {
			return c, errors.New("update: give only one of --soft, --kexec and --reboot")
		}
		if way != "" {
			c.way = way
		}
	}
	if named { // An empty one, too: it is a variable that nobody has set.
		err = layout.CheckID(c.id)
	}
	return c, err
}

// An updater changes a node to another version.
type updater struct {
	*node
	recipe *Recipe
	say    func(format string, args ...any)
}

// update changes the node to another version of the tree, and says by which way before
// it does.
func update(w io.Writer, c updateCall) error {
	if os.Geteuid() != 0 {
		return errors.New("update: run this as root")
	}
	if err := amongInit(); err != nil {
		return fmt.Errorf("update: enter the mount namespace of PID 1: %w", err)
	}
	lock, err := os.OpenFile(Dir+"/update.lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errUnderWay
	}
	n, err := known()
	if err != nil {
		return err
	}
	if n.Version == "" {
		return errors.New("update: this node runs a plain tree, not a version of a base: reboot it if it needs the changes")
	}
	// Until it is done the next root must stay, and no other update may be ordered.
	if text, err := os.ReadFile(orderFile); err == nil && ordered(string(text), n.Version, n.now) {
		return errUnderWay
	}
	recipe, err := readRecipe()
	if err != nil {
		return err
	}
	u := &updater{node: n, recipe: recipe, say: func(format string, args ...any) {
		fmt.Fprintf(w, format+"\n", args...)
		toKernel(format, args...)
	}}
	t, err := u.target(c.id)
	if err != nil || t == nil {
		return err
	}
	way, why, err := t.choose(c.way)
	if err != nil {
		return fmt.Errorf("update to version %s: %w", t.id, err)
	}
	u.say("update from version %s to %s by %s: %s", u.Version, t.id, way, why)
	// A connection that is lost ends no update in the middle.
	ignoreEnd()
	if err := u.act(way, t); err != nil {
		err = fmt.Errorf("update to version %s by %s: %w: this was undone, and the node still runs version %s", t.id, way, err, u.Version)
		toKernel("%v", err)
		return err
	}
	_ = ReplaceFile(orderFile, order(n.Version, clock.Uptime()), 0o644) // Where /run is full, systemd has the order nevertheless.
	return nil
}

var errUnderWay = errors.New("update: another update of this node is running; nothing was changed")

// orderFile says that an update was ordered. Until it is done logind may wait for
// some programs, and nothing else tells of it.
const orderFile = Dir + "/ordered"

// orderTime is for how long after an order another one is refused.
const orderTime = time.Minute

// order is what orderFile has of an update from a version, ordered at now, a time since
// the machine started.
func order(version string, now time.Duration) string {
	return line("from", version) + line("at", strconv.FormatInt(int64(now), 10))
}

// ordered tells whether an update was ordered and is not done yet: the node runs the
// same version as then.
func ordered(text, version string, now time.Duration) bool {
	r, err := parseRecord(text)
	return err == nil && r.get("from") == version && now-time.Duration(r.number("at")) < orderTime
}

func ignoreEnd() { signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM) }

// amongInit starts this program again in PID 1's mount namespace where it is in
// another one: there the next root must be mounted.
func amongInit() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	if of1, err := os.Readlink("/proc/1/ns/mnt"); err != nil || own == of1 {
		return err
	}
	if err := mounts.EnterInit(); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args, os.Environ())
}

// target finds out what an update leads to. It is nil where there is nothing to do.
func (u *updater) target(id string) (*target, error) {
	t := &target{rw: u.RW, boots: u.booted}
	if !u.Pinned {
		f, err := answers(stepLimit, probeBase)
		if err != nil {
			return nil, fmt.Errorf("update: %w; nothing was changed", err)
		}
		t.boots = f.get("current")
	}
	t.id = t.boots
	if id != "" {
		t.id = id
	}
	if t.id == u.Version {
		u.say("nothing to do: this node runs version %s", t.id)
		return nil, nil
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		text, err := u.run("systemctl", "show", "--property=Version,SystemState")
		if err != nil {
			return nil, fmt.Errorf("update: %w; nothing was changed", err)
		}
		state := parseKeys(text)
		if state.get("SystemState") == "stopping" {
			return nil, errors.New("update: this node is shutting down; nothing was changed")
		}
		t.systemd = parseSystemd(state.get("Version"))
	}
	f, err := u.step(inspectStep, t.id)
	if err != nil {
		return nil, fmt.Errorf("update to version %s: %w; nothing was changed", t.id, err)
	}
	t.stays, t.newInit, t.release = f.get("stays"), f.get("new_init"), f.get("release")
	if text, err := os.ReadFile("/proc/sys/kernel/kexec_load_disabled"); err != nil || strings.TrimSpace(string(text)) != "0" {
		t.noKexec = "kexec is disabled on this node (sysctl kernel.kexec_load_disabled)"
	} else if errors.Is(unix.KexecFileLoad(-1, -1, "", noFlag), unix.ENOSYS) {
		t.noKexec = "this kernel does not support kexec (CONFIG_KEXEC_FILE is not set)"
	}
	return t, nil
}

// noFlag is none of kexec_file_load's flags: a kernel that has the system call answers EINVAL
// and does nothing. Those of Debian on arm64 have none.
const noFlag = 1 << 30

// act updates the node in one way. After an error it has undone what it did.
func (u *updater) act(way string, t *target) error {
	undo := func() error { return nil }
	args := []string{t.id}
	switch way {
	case soft:
		undo = func() error { return mounts.Detach(nextRoot) }
		if err := undo(); err != nil { // Of one that was killed.
			return err
		}
	case kexec:
		const unload = 1 // KEXEC_FILE_UNLOAD in linux/kexec.h
		undo = func() error { return unix.KexecFileLoad(-1, -1, "", unload) }
		more := ""
		if t.id != t.boots {
			more = " sidus.version=" + t.id
		}
		args = append(args, t.release, more)
	}
	if way != reboot {
		f, err := u.step(append([]string{way}, args...)...)
		if err != nil {
			return errors.Join(err, undo())
		}
		for _, note := range f.all(saidNote) {
			u.say("the node's own files: %s: the update continues without it", note)
		}
	}
	if way == soft {
		// Nobody else may open it, so that nobody waits: without the keeper the next look does.
		if fd, err := unix.Open(UpdateFIFO, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
		}
	}
	program := []string{"systemctl", way}
	if t.systemd == 0 {
		program = []string{"reboot"}
	}
	if _, err := u.run(program...); err != nil {
		return errors.Join(err, undo())
	}
	return nil
}
