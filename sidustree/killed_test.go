package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/versions"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// runEnv makes the test's program behave as sidustree.
const runEnv = "SIDUSTREE_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		// strace counts the calls of each thread by itself.
		runtime.LockOSThread()
		main()
	}
	os.Exit(m.Run())
}

// process is sidustree as a process of its own.
func process(t *testing.T, prefix []string, args ...string) *exec.Cmd {
	t.Helper()
	argv := slices.Concat(prefix, []string{os.Args[0]}, args)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), runEnv+"=1", "GOMAXPROCS=1")
	return cmd
}

// A testBase is a directory with a base in it: versions a and b, c in staging, and a
// tree to make another base of.
type testBase struct {
	t        *testing.T
	dir      string
	contents map[string]string // of the versions, by ID
}

func newTestBase(t *testing.T, dir string) testBase {
	t.Helper()
	r := testBase{t: t, dir: dir}
	r.sh(`mkdir -p tree/etc tree/sbin tree/lib/modules/6.1; echo one >tree/etc/file; echo same >tree/etc/same
ln -s file tree/etc/link; printf '#!/bin/sh\n' >tree/sbin/init; chmod 755 tree/sbin/init; touch tree/lib/modules/6.1/modules.dep`)
	r.must("init", r.path("base"), "--from", r.path("tree"))
	r.must("publish", r.path("base"), "--id=a")
	r.sh("echo two >base/staging/etc/file")
	r.must("publish", r.path("base"), "--id=b")
	r.sh("echo three >base/staging/etc/file")
	r.contents = map[string]string{
		"a": r.describe("base/versions/a"), "b": r.describe("base/versions/b"),
		"c": r.describe("base/staging"), "n": r.describe("base/staging"),
	}
	return r
}

func (r testBase) path(name string) string { return filepath.Join(r.dir, name) }

func (r testBase) sh(script string) string {
	r.t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

func (r testBase) must(args ...string) {
	r.t.Helper()
	var out bytes.Buffer
	if code := command.Run(rootCommand(), args, &out, &out); code != 0 {
		r.t.Fatalf("%q: %s", args, out.String())
	}
}

// describe tells what a tree has in it.
func (r testBase) describe(name string) string {
	r.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(r.path(name), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(r.path(name), path)
		fmt.Fprintf(&b, "%s %v", rel, info.Mode())
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %.40q", len(text), text)
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			b.WriteString(" " + target)
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

// whole looks at the base as a node would: current leads to a version, and every
// version has all its files.
func (r testBase) whole(when string) {
	r.t.Helper()
	b, err := versions.Open(r.path("base"))
	if err != nil {
		r.t.Fatalf("%s: %v", when, err)
	}
	defer b.Close()
	if current, err := b.Current(); err != nil || current == "" {
		r.t.Fatalf("%s: current is %q, %v", when, current, err)
	}
	entries, err := os.ReadDir(r.path("base/versions"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if layout.CheckID(e.Name()) != nil {
			continue
		}
		if got := r.describe("base/versions/" + e.Name()); got != r.contents[e.Name()] {
			r.t.Fatalf("%s: version %s is not whole:\n%s\nwant:\n%s", when, e.Name(), got, r.contents[e.Name()])
		}
	}
}

// nothingLeft wants that the last command removed what an earlier one left.
func (r testBase) nothingLeft(when string) {
	r.t.Helper()
	if left := r.sh("find . -name '.new-*' -o -name '.gone-*' -o -name '.current-*' -o -name '*.sidusboot'"); left != "" {
		r.t.Fatalf("%s: left:\n%s", when, left)
	}
}

// changing are the system calls by which a program changes a file system, or puts
// it on the disk. An open is one only with O_CREAT.
const changing = "openat,mkdirat,linkat,symlinkat,mknodat,renameat,renameat2,unlinkat,write,pwrite64,fchmod,fchmodat,chmod,chown,lchown,fchown," +
	"fchownat,utimensat,setxattr,lsetxattr,lremovexattr,ftruncate,ioctl,fsync,syncfs,flock"

// A systemCall is the nth call of its name.
type systemCall struct {
	name string
	n    int
}

var traced = regexp.MustCompile(`(?m)^(?:(\d+) +)?([a-z0-9_]+)\((.*)$`)

// calls runs a command and returns the calls of its first thread that change
// something.
func calls(t *testing.T, args ...string) []systemCall {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := process(t, []string{"strace", "-f", "-qq", "-o", trace, "-e", "trace=" + changing}, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	first := ""
	var all []systemCall
	for _, m := range traced.FindAllStringSubmatch(string(text), -1) {
		if first == "" {
			first = m[1]
		}
		if m[1] != first {
			continue
		}
		counts[m[2]]++
		if m[2] != "openat" || strings.Contains(m[3], "O_CREAT") {
			all = append(all, systemCall{m[2], counts[m[2]]})
		}
	}
	return all
}

// TestKilledAnywhere kills every command that changes something at each of the
// system calls by which it does so, for real. Then current leads to a whole version,
// and the next command works and leaves nothing of the killed one.
func TestKilledAnywhere(t *testing.T) {
	if out, err := exec.Command("strace", "-f", "-e", "trace=none", "true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v: %s", err, out)
	}
	for _, test := range []struct {
		name  string
		args  []string
		least int // calls
		check func(r testBase, when string)
	}{
		{"publish", []string{"publish", "base", "--id=c"}, 30, nil},
		{"rollback", []string{"rollback", "base", "a"}, 3, nil},
		{"gc", []string{"gc", "base", "--keep=1", "--assume-unused"}, 8, nil},
		{"init", []string{"init", "other", "--from", "tree"}, 25, func(r testBase, when string) {
			// Once more, and it is a base. Where staging is there already, it is whole.
			if _, err := os.Stat(r.path("other/staging")); errors.Is(err, fs.ErrNotExist) {
				r.must("init", r.path("other"), "--from", r.path("tree"))
			} else {
				r.must("init", r.path("other"))
			}
			if got, want := r.describe("other/staging"), r.describe("tree"); got != want {
				r.t.Fatalf("%s: staging is not whole: %s", when, got)
			}
		}},
		{"touch", []string{"touch", "tree"}, 5, func(r testBase, when string) {
			text, err := os.ReadFile(r.path("tree/" + layout.Stamp))
			if err == nil && !strings.HasSuffix(string(text), "\n") {
				r.t.Fatalf("%s: half a stamp: %q", when, text)
			}
			r.must("touch", r.path("tree"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newTestBase(t, fastDir(t))
			args := slices.Clone(test.args)
			for i, a := range args {
				if a == "base" || a == "other" || a == "tree" {
					args[i] = r.path(a)
				}
			}
			save := fastDir(t)
			r.sh("cp -a . " + save)
			reset := func() { r.sh("rm -rf base other tree; cp -a " + save + "/. .") }
			all := calls(t, args...)
			if len(all) < test.least {
				t.Errorf("only %d calls: %v", len(all), all)
			}
			for _, c := range all {
				reset()
				when := fmt.Sprintf("killed at %s number %d", c.name, c.n)
				cmd := process(t, []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + c.name,
					"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", c.name, c.n)}, args...)
				out, err := cmd.CombinedOutput()
				exit := (*exec.ExitError)(nil)
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("%s: it was not: %v: %s", when, err, out)
				}
				r.whole(when)
				if test.check != nil {
					test.check(r, when)
				}
				r.must("publish", r.path("base"), "--id=n")
				r.whole("after " + when)
				r.nothingLeft("after " + when)
			}
			t.Logf("%d calls", len(all))
		})
	}
}

// fastDir is a directory in memory where there is one: the tests sync often.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sidustree-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestManyAtOnce runs commands side by side: each works, or says that another one
// is at it.
func TestManyAtOnce(t *testing.T) {
	r := newTestBase(t, fastDir(t))
	for _, id := range []string{"c1", "c2", "c3"} {
		r.contents[id] = r.contents["c"]
	}
	var wg sync.WaitGroup
	for _, args := range [][]string{
		{"publish", "base", "--id=c1"}, {"rollback", "base", "a"}, {"publish", "base", "--id=c2"}, {"list", "base"},
		{"gc", "base", "--keep=1", "--assume-unused"}, {"rollback", "base", "b"}, {"list", "base"}, {"publish", "base", "--id=c3"}, {"list", "base"},
	} {
		args[1] = r.path("base")
		for range 3 {
			cmd := process(t, nil, args...)
			wg.Go(func() {
				out, err := cmd.CombinedOutput()
				said := string(out)
				// A version may be gone, or there, by another's work.
				if err != nil && !strings.Contains(said, "another sidustree is changing it") && !strings.Contains(said, "has no version") && !strings.Contains(said, "choose another ID") {
					t.Errorf("%q: %v: %s", args[0], err, said)
				}
			})
		}
	}
	wg.Wait()
	r.whole("after many commands at once")
	r.must("publish", r.path("base"), "--id=n")
	r.whole("after one more")
	r.nothingLeft("after one more")
}
