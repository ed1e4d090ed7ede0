package qemutests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// kernelTime is the processor's time that QEMU needs from its start to /init's
// first message, on the machine that the tests' figures are of: two cores of a
// server, emulation.
const kernelTime = 3 * time.Second

// Pace is how many times slower than on that machine, when it is quiet, this
// guest computes: how much longer its own kernel took to start, times the share
// of its time in which QEMU wanted a processor and had none. It is at least 1.
// A constant with which a guest's durations are compared is multiplied by it.
func (g *Guest) Pace() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	pace := max(1, g.atInit.ran.Seconds()/kernelTime.Seconds())
	if g.now.ran > 0 {
		pace *= 1 + g.now.waited.Seconds()/g.now.ran.Seconds()
	}
	return pace
}

// initSpeaks finds the kernel's last line before /init and the first ones of it.
var initSpeaks = regexp.MustCompile(`Run /init as init process|sidusboot`)

// processorTime is what a process had of the processors, and what it waited for
// them.
type processorTime struct{ ran, waited time.Duration }

// timeOf adds up the threads of a process that live (kernel:
// Documentation/scheduler/sched-stats.rst). Where the kernel does not tell, there
// is no time.
func timeOf(pid int) (sum processorTime) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range threads {
		var t processorTime
		if b, err := os.ReadFile(file); err == nil {
			if _, err := fmt.Fscan(bytes.NewReader(b), &t.ran, &t.waited); err == nil {
				sum.ran += t.ran
				sum.waited += t.waited
			}
		}
	}
	return sum
}

// measure notes QEMU's time whenever a port says something new.
func (g *Guest) measure(line string) {
	t := timeOf(g.cmd.Process.Pid)
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.ran < g.now.ran {
		return // It ends.
	}
	g.now = t
	if g.atInit.ran == 0 && initSpeaks.MatchString(line) {
		g.atInit = t
	}
}
