package sidusnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sidusboot/sidusboot/chroot"
)

// What sidus.follow= says.
const (
	followIdle = "idle"
	followNow  = "now"
)

// warnTime is how long before an update those who are logged in are warned.
const warnTime = time.Minute

// A follow is what has been done, and is to be done, about a version that has
// become current while the node runs. Times are since the machine started.
type follow struct {
	// id is the version, due is when an update to it may begin.
	id  string
	due time.Duration
	// tried is the version that an update by itself was last begun to.
	tried string
}

// A move is what a watch leads to.
type move int

const (
	moveNone move = iota
	moveWarn
	moveIdle   // Where the node is idle, the update.
	moveUpdate // The update at once.
)

func (f *follow) record() (r record) {
	r.add("follow", f.id)
	r.add("follow_due", strconv.FormatInt(int64(f.due), 10))
	r.add("follow_tried", f.tried)
	return r
}

func parseFollow(r record) follow {
	return follow{id: r.get("follow"), due: time.Duration(r.number("follow_due")), tried: r.get("follow_tried")}
}

// next is what to do at now, where the node runs a version and another may be
// current. wait spreads the nodes of a room.
func (f *follow) next(now time.Duration, policy, runs, current string, wait time.Duration) move {
	if current == "" || current == runs || current == f.tried {
		f.id = ""
		return moveNone
	}
	if current != f.id {
		f.id, f.due = current, now+wait
		if policy == followNow {
			f.due += warnTime
			return moveWarn
		}
	}
	switch {
	case now < f.due:
		return moveNone
	case policy == followIdle:
		return moveIdle
	}
	return moveUpdate
}

// follows tells whether the node updates itself.
func (n *node) follows() bool {
	return !n.Pinned && (n.Follow == followIdle || n.Follow == followNow)
}

// followCurrent does what sidus.follow= says about the version that is current.
func (n *node) followCurrent(logf func(format string, args ...any)) error {
	if !n.follows() {
		return nil
	}
	switch n.follow.next(n.now, n.Follow, n.Version, n.current, delay(n.Slot, n.Spread)) {
	case moveWarn:
		text := fmt.Sprintf("this node changes from version %s of its system to %s in %s: save your work", n.Version, n.current, short(n.follow.due-n.now))
		logf("%s (sidus.follow=%s)", text, n.Follow)
		return warn(text)
	case moveIdle:
		f, err := answers(watchLimit, probeIdle)
		if err != nil || len(f.all("busy")) > 0 {
			return err
		}
	case moveNone:
		return nil
	}
	// Whether it succeeds or not, it is not begun again. No version is named: a kexec to one
	// that is not current any more by then would pin the node to it.
	n.follow.tried = n.current
	if err := n.writeState(); err != nil {
		return err
	}
	logf("update to version %s (sidus.follow=%s); if it fails, it is not tried again", n.current, n.Follow)
	// Go's runtime opens /dev/null where a standard file is closed (runtime/fds_unix.go).
	p, err := os.StartProcess("/proc/self/exe", []string{Name, "update"}, &os.ProcAttr{
		Dir: "/", Env: os.Environ(), Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	return p.Release()
}

// idleProgram of the tree may say by its exit status that the node is not idle.
const idleProgram = "/etc/sidusboot/idle"

// idle says why the node is not idle.
func idle(say func(key, value string)) error {
	all, err := people()
	if err != nil {
		return err
	}
	for _, p := range all {
		say("busy", p.user+" is logged in")
	}
	inhibitors, err := keyFiles(inhibitDir)
	if err != nil {
		return err
	}
	for _, i := range inhibitors {
		if i.get("MODE") == "block" && strings.Contains(i.get("WHAT"), "shutdown") {
			say("busy", i.get("WHO")+" inhibits the shutdown: "+i.get("WHY"))
		}
	}
	_, status, err := chroot.Run("/", chroot.Options{LineFD: 3, Running: func(int) {}}, idleProgram)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if status != 0 {
		say("busy", fmt.Sprintf("%s: exit status %d", idleProgram, status))
	}
	return err
}
