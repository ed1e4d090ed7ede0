// Package bootlog is what a boot says: to the console and the kernel's log, to
// boot.log and boot.json on the node, and, stage by stage, to a program that
// follows it. All that servers, disks and trees have said is escaped, so that a
// console shows it and does nothing else.
package bootlog

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/printable"
)

// Levels of the kernel's log (include/linux/kern_levels.h). Errors and
// warnings reach the console of a quiet boot too, notices do not.
const (
	levelError  = 3
	levelNotice = 5
)

// maxLine keeps a record within the kernel's PRINTKRB_RECORD_MAX of 1024.
const maxLine = 900

// A Logger writes to the kernel's log, and through it to the console, and keeps
// what it wrote for boot.log. Without Kmsg it writes to standard error. The zero
// Logger is ready for use.
type Logger struct {
	// Name is before each line; default "sidusboot". A logger with a name, of a
	// process that stays, keeps no lines: it must not grow.
	Name string
	// Kmsg is the kernel's log, if it is open, see OpenKmsg.
	Kmsg *os.File

	mu    sync.Mutex
	lines History
}

// OpenKmsg starts logging to the kernel, without its limit of ten lines in five
// seconds: a boot has more to say.
func (l *Logger) OpenKmsg() error {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Kmsg = f
	// An old kernel, or one whose command line fixed the limit, keeps it. The
	// kernel takes no value without a newline (kernel/printk/printk.c,
	// devkmsg_sysctl_set_loglvl).
	_ = os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on\n"), 0)
	return nil
}

// RestoreLimit leaves the kernel's log as the real init expects it.
func (l *Logger) RestoreLimit() {
	_ = os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("ratelimit\n"), 0)
}

// Errorf logs what an operator must see: it reaches the console of a quiet boot
// too.
func (l *Logger) Errorf(format string, args ...any) { l.write(levelError, format, args...) }

// Noticef logs what is worth to be known.
func (l *Logger) Noticef(format string, args ...any) { l.write(levelNotice, format, args...) }

// Error logs an error, if there is one, and for a panic its stack.
func (l *Logger) Error(err error) {
	if err == nil {
		return
	}
	l.Errorf("%v", err)
	var p *panics.Error
	if errors.As(err, &p) {
		l.Stack(p.Stack)
	}
}

// Stack logs the stack of a panic.
func (l *Logger) Stack(stack []byte) {
	for line := range strings.Lines(string(stack)) {
		l.Errorf("%s", strings.TrimSuffix(line, "\n"))
	}
}

// Background runs f in a goroutine of its own and logs its error or panic.
func (l *Logger) Background(f func() error) {
	go func() {
		defer panics.Ignore() // Of the logging.
		l.Error(panics.Call(f))
	}()
}

// oneLine is a text that a console shows in one line, see package printable. The end
// of a line becomes "; ".
func oneLine(s string) string {
	return printable.Text(strings.NewReplacer("\n", "; ", "\t", " ").Replace(s))
}

func (l *Logger) write(level int, format string, args ...any) {
	line := oneLine(fmt.Sprintf(format, args...))
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "") + " …"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Name == "" {
		l.lines.keep = logKeep
		l.lines.Add(fmt.Sprintf("[%8.3f] %s", clock.Uptime().Seconds(), line))
	}
	if l.Kmsg != nil {
		// One write is one record.
		if _, err := fmt.Fprintf(l.Kmsg, "<%d>%s: %s\n", level, l.prefix(), line); err == nil {
			return
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", l.prefix(), line)
}

func (l *Logger) prefix() string {
	if l.Name == "" {
		return "sidusboot"
	}
	return l.Name
}

// Text is the log so far.
func (l *Logger) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines.texts(), "\n") + "\n"
}
