package iscsi

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// IscsidRuns tells whether open-iscsi's daemon runs, which may log in on any
// session of this kernel: two processes that do so on one session at the same
// time bring Linux 6.12 down.
func IscsidRuns() bool { return runs("iscsid") }

// runs tells whether a process of this name runs that can reach this process's
// sessions: one of root's, in this network namespace. Any user can give a
// process any name, and a container may have an iscsid of its own.
func runs(name string) bool {
	own, err := os.Readlink("/proc/self/ns/net")
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range names {
		b, readErr := os.ReadFile(path)
		if readErr != nil || strings.TrimSpace(string(b)) != name {
			continue
		}
		dir := filepath.Dir(path)
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil || st.Uid != 0 {
			continue
		}
		if net, netErr := os.Readlink(dir + "/ns/net"); err != nil || netErr != nil || net == own {
			return true
		}
	}
	return false
}
