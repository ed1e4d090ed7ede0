// Package networktest gives a test the network of one node: a network namespace
// in which the whole test process runs, as /init does on a node, with cables
// into a switch, and hosts behind it that run real servers.
//
//	func TestX(t *testing.T) {
//		networktest.Isolated(t, func() {
//			n := networktest.New(t)
//			n.Plug("eth0", networktest.Cable{})
//			n.Server.DNSMasq("--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h")
//			…
//		})
//	}
//
// It needs root, iproute2 and, for DNSMasq, dnsmasq.
package networktest

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// isolated holds, in the process that Isolated starts, the mount namespace of
// the one that started it.
const isolated = "SIDUSBOOT_TEST_NAMESPACE"

// Isolated runs the test once more, alone, in a process of its own with network
// and mount namespaces of its own, and calls test there. Goroutines run on any
// thread, and only in this way all threads are in the same namespace. In the first
// process the test ends as it ended there, and what it covered is counted.
func Isolated(t *testing.T, test func()) {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	if outer := os.Getenv(isolated); outer != "" {
		if outer == own {
			t.Fatalf("%s is set, but this is the machine's own mount namespace", isolated)
		}
		mountOwn(t)
		test()
		return
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+quote(part)+"$")
	}
	args := []string{"-test.run=" + strings.Join(pattern, "/"), "-test.v", "-test.count=1", "-test.timeout=5m"}
	covered := ""
	if testing.CoverMode() != "" {
		covered = t.TempDir()
		args = append(args, "-test.gocoverdir="+covered)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), isolated+"="+own)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL,
	}
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	name := t.Name()
	if covered != "" {
		addCoverage(t, covered)
	}
	switch {
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP: "+name)):
		t.Skipf("%s", out)
	case !bytes.Contains(out, []byte("--- PASS: "+name)):
		t.Fatalf("it did not run:\n%s", out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

// coverage protects the flag that addCoverage sets.
var coverage sync.Mutex

// addCoverage adds the counters in a directory to those of this process: package
// testing reads everything in the directory of -test.gocoverdir when it ends. A
// process that ends while another one writes there would read half a file, so
// each has a directory of its own first.
func addCoverage(t *testing.T, dir string) {
	t.Helper()
	coverage.Lock()
	defer coverage.Unlock()
	all := flag.Lookup("test.gocoverdir")
	if all.Value.String() == "" {
		// Beside the test's program, which go test removes in the end.
		to, err := os.MkdirTemp(filepath.Dir(os.Args[0]), "coverage")
		if err != nil {
			t.Fatal(err)
		}
		if err := all.Value.Set(to); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(all.Value.String(), f.Name()), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// quote makes of a test's name an expression that fits it alone.
func quote(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\.+*?()|[]{}^$`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// mountOwn gives the namespaces a /proc and a /sys of their own.
func mountOwn(t *testing.T) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for dir, fstype := range map[string]string{"/proc": "proc", "/sys": "sysfs"} {
		if err := unix.Mount(fstype, dir, fstype, 0, ""); err != nil {
			t.Fatalf("mount %s: %v", dir, err)
		}
	}
}
