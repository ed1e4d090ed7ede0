package watchdog

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Progress is what a stage's work leaves behind while it goes on: what its disk
// has read and written, and the processor time of the program that runs for it.
// Whoever waits for a target that is gone changes none of it.
type Progress struct {
	// disk says that there is one.
	disk          bool
	read, written uint64 // bytes
	// requests are those that the disk has carried out, of any kind.
	requests uint64
	// ticks are the program's, in 1/100 s.
	ticks uint64
	// answers are those of a server, which show that it is there.
	answers uint64
}

// text is what is said of progress whose last change was idle ago.
func (p Progress) text(idle time.Duration) string {
	text := ""
	if p.disk {
		text = fmt.Sprintf("; its disk has read %d MiB and written %d MiB", p.read>>20, p.written>>20)
	}
	if idle >= nextReport && p != (Progress{}) {
		text += fmt.Sprintf(", nothing for %v", idle)
	}
	return text
}

// A Meter tells what a stage waits for, and how far it is. Its methods may be
// called by several goroutines.
type Meter struct {
	mu      sync.Mutex
	waiting string
	disk    string // its name in sysfs
	before  Progress
	program int
	answers uint64
}

// Reset is called at the beginning of a stage.
func (m *Meter) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting, m.disk, m.before, m.answers = "", "", Progress{}, 0
}

// WaitFor notes what the stage is going to wait for.
func (m *Meter) WaitFor(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = what
}

// WaitsFor is what the stage waits for.
func (m *Meter) WaitsFor() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting == "" {
		return "an answer"
	}
	return m.waiting
}

// Answered notes that a server is there which takes its time.
func (m *Meter) Answered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers++
}

// UseDisk counts the work of a block device from now on.
func (m *Meter) UseDisk(device string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = filepath.Base(device)
	m.before = Progress{}
	m.before = m.read()
}

// UseProgram counts the processor time of the program that runs for the stage,
// by its process ID. Zero: none.
func (m *Meter) UseProgram(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.program = pid
}

// Progress is how far the stage is.
func (m *Meter) Progress() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read()
}

// read needs mu.
func (m *Meter) read() (p Progress) {
	if m.disk != "" {
		// Documentation/block/stat.rst: reads, merged, sectors, ms, writes, merged,
		// sectors, …; sectors are of 512 bytes.
		n := numbers("/sys/class/block/" + m.disk + "/stat")
		if len(n) >= 7 {
			p = Progress{disk: true, read: n[2]*512 - m.before.read, written: n[6]*512 - m.before.written, requests: n[0] + n[4]}
		}
		if len(n) >= 17 {
			p.requests += n[11] + n[15] // Discards and flushes.
		}
	}
	if m.program != 0 {
		p.ticks = cpuTicks(m.program)
	}
	p.answers = m.answers
	return p
}

// numbers are the fields of a file of the kernel's.
func numbers(name string) []uint64 {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var all []uint64
	for _, field := range strings.Fields(string(b)) {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return all
		}
		all = append(all, n)
	}
	return all
}

// cpuTicks is the processor time of a process (proc_pid_stat(5), utime and
// stime).
func cpuTicks(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// Its name, in brackets, may have blanks and brackets in it.
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const utime = 14 - 3 // Fields count from 1, and two came before.
	if len(fields) < utime+2 {
		return 0
	}
	user, _ := strconv.ParseUint(fields[utime], 10, 64)
	system, _ := strconv.ParseUint(fields[utime+1], 10, 64)
	return user + system
}
