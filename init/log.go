package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// Levels of the kernel's log (include/linux/kern_levels.h). Errors and
// warnings reach the console of a quiet boot too, notices do not.
const (
	levelError  = 3
	levelNotice = 5
)

// maxLine keeps a record within the kernel's PRINTKRB_RECORD_MAX of 1024.
const maxLine = 900

// A logger writes to the kernel's log, and by it to the console, and keeps
// what it wrote for /run/sidusboot/boot.log. Until /dev/kmsg is there it
// writes to standard error.
type logger struct {
	name  string // before each line; default "sidusboot"
	mu    sync.Mutex
	kmsg  *os.File
	lines history
}

// openKmsg starts logging to the kernel. Its limit of ten lines in five
// seconds would swallow the story of a boot.
func (l *logger) openKmsg() error {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kmsg = f
	// An old kernel, or one whose command line fixed it: then it is limited.
	// The kernel takes no word without a newline
	// (kernel/printk/printk.c, devkmsg_sysctl_set_loglvl).
	_ = os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on\n"), 0)
	return nil
}

// restore gives the kernel's log back as the real init expects it.
func (l *logger) restore() {
	_ = os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("ratelimit\n"), 0)
}

func (l *logger) errorf(format string, args ...any)  { l.write(levelError, format, args...) }
func (l *logger) noticef(format string, args ...any) { l.write(levelNotice, format, args...) }

// trouble tells an error, if there is one, and where in the program a panic was.
func (l *logger) trouble(err error) {
	if err == nil {
		return
	}
	l.errorf("%v", err)
	var p *panics.Error
	if errors.As(err, &p) {
		for _, line := range splitLines(string(p.Stack)) {
			l.errorf("%s", line)
		}
	}
}

// inBackground runs f in a goroutine of its own and tells its error or panic.
func (l *logger) inBackground(f func() error) {
	go func() {
		defer panics.Ignore() // Of the telling.
		l.trouble(panics.Call(f))
	}()
}

func (l *logger) write(level int, format string, args ...any) {
	line := printable(fmt.Sprintf(format, args...))
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "") + " …"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.name == "" { // What is resident must not grow.
		l.lines.keep = logKeep
		l.lines.add(fmt.Sprintf("[%8.3f] %s", uptime().Seconds(), line))
	}
	if l.kmsg != nil {
		// One write is one record.
		if _, err := fmt.Fprintf(l.kmsg, "<%d>%s: %s\n", level, l.prefix(), line); err == nil {
			return
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", l.prefix(), line)
}

func (l *logger) prefix() string {
	if l.name == "" {
		return "sidusboot"
	}
	return l.name
}

// text is the log so far.
func (l *logger) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines.texts(), "\n") + "\n"
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
