package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// progress is what a stage's work leaves behind while it goes on: what its disk
// has read and written, and the processor time of the program that runs for it.
// Whoever waits for a target that is gone changes none of it.
type progress struct {
	// disk says that there is one.
	disk          bool
	read, written uint64 // bytes
	// requests are those that the disk has carried out, of any kind.
	requests uint64
	// ticks are the program's, in 1/100 s.
	ticks uint64
	// signs are those that a server gave that it is there.
	signs uint64
}

// watchDisk makes a block device's work the stage's progress.
func (s *system) watchDisk(device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk = filepath.Base(device)
	s.before = progress{}
	s.before = s.look()
}

// forget ends what watchDisk began.
func (s *system) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk, s.before, s.signs = "", progress{}, 0
}

// sign notes that a server is there which takes its time.
func (s *system) sign() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signs++
}

// setChild names the program that runs for the stage, 0: none.
func (s *system) setChild(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = pid
}

// progress is how far the stage is, from its beginning on.
func (s *system) progress() progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.look()
}

func (s *system) look() (p progress) {
	if s.disk != "" {
		// Documentation/block/stat.rst: reads, merged, sectors, ms, writes, merged,
		// sectors, …; sectors are of 512 bytes.
		n := numbers("/sys/class/block/" + s.disk + "/stat")
		if len(n) >= 7 {
			p = progress{disk: true, read: n[2]*512 - s.before.read, written: n[6]*512 - s.before.written, requests: n[0] + n[4]}
		}
		if len(n) >= 17 {
			p.requests += n[11] + n[15] // Discards and flushes.
		}
	}
	if s.child != 0 {
		p.ticks = cpuTicks(s.child)
	}
	p.signs = s.signs
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
