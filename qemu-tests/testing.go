package qemutests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// TB is what a lab needs of a *testing.T.
type TB interface {
	Helper()
	Name() string
	Context() context.Context
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// needed are the programs of a lab and of the trees; prerequisites installs
// them.
var needed = []string{
	qemuProgram, "ganesha.nfsd", "rpcbind", "dnsmasq", "ip", "ss", "mmdebstrap", "unshare",
}

// Require skips a test that boots a guest where something for it is missing.
// With CI=true or SIDUSBOOT_QEMU=1 in the environment the test fails instead;
// with SIDUSBOOT_QEMU=0 it is skipped in any case.
func Require(t TB) {
	t.Helper()
	mode := os.Getenv("SIDUSBOOT_QEMU")
	if mode == "0" {
		t.Skipf("boots a guest, and SIDUSBOOT_QEMU=0")
	}
	missing := missing()
	switch {
	case missing == "":
	case mode == "1" || os.Getenv("CI") == "true":
		t.Fatalf("cannot boot a guest: %s", missing)
	default:
		t.Skipf("cannot boot a guest: %s", missing)
	}
}

// missing is what keeps this process from booting a guest; empty: nothing.
func missing() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	var absent []string
	for _, program := range needed {
		if _, err := exec.LookPath(program); err != nil {
			absent = append(absent, program)
		}
	}
	if len(absent) > 0 {
		return fmt.Sprintf("%s not installed; run tools/prerequisites", strings.Join(absent, ", "))
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return err.Error()
	}
	return ""
}

// NewLab opens a lab for a test, or skips the test: see Require. The lab is
// closed when the test ends; if the test has failed, the ends of its logs and
// consoles are printed before. SIDUSBOOT_LOGS names a folder that receives all
// logs of every test, failed or not.
func NewLab(t TB, opts LabOptions) *Lab {
	t.Helper()
	Require(t)
	if opts.Logf == nil {
		opts.Logf = t.Logf
	}
	l, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			l.report(t.Logf)
		}
		if dir := os.Getenv("SIDUSBOOT_LOGS"); dir != "" {
			if err := l.SaveLogs(filepath.Join(dir, filepath.FromSlash(t.Name()))); err != nil {
				t.Logf("save logs: %v", err)
			}
		}
		l.Close()
	})
	return l
}

// report prints what helps to understand a failure.
func (l *Lab) report(logf func(format string, args ...any)) {
	l.mu.Lock()
	guests, servers := l.guests, l.servers
	l.mu.Unlock()
	for _, s := range servers {
		logf("--- log of %s ends with:\n%s", s.name, lastLines(s.Log(), 30))
	}
	for _, g := range guests {
		for _, e := range g.Events() {
			logf("--- %s: %+v", g.name, e)
		}
		logf("--- console of %s ends with:\n%s", g.name, lastLines(g.Console(), 60))
		logf("--- %s by hand: %s", g.name, g.CommandLine())
	}
}

// Soak skips a test that repeats itself many times or waits for minutes. With
// SIDUSBOOT_SOAK=1 in the environment, as `make soak` sets it, it runs.
func Soak(t TB) {
	t.Helper()
	if !Soaking() {
		t.Skipf("many repetitions or long waits: make soak")
	}
}

// Soaking tells whether tests are to repeat and wait as Soak has it: for those
// that do a little less otherwise.
func Soaking() bool { return os.Getenv("SIDUSBOOT_SOAK") == "1" }
