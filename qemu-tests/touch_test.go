//go:build qemu

package qemutests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A changedTree is a copy of a tree, with the hook of sidustree touch in it, and
// packages to install there.
type changedTree struct {
	t   *testing.T
	dir string
}

// sh runs a script on this machine, in the directory of the tree.
func (c changedTree) sh(script string) string {
	c.t.Helper()
	out, err := c.try(script)
	if err != nil {
		c.t.Fatalf("%s: %v", script, err)
	}
	return strings.TrimSpace(out)
}

func (c changedTree) try(script string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "TMPDIR=/tmp")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return string(out), err
}

// counter is the second word of the tree's stamp.
func (c changedTree) counter() string {
	c.t.Helper()
	return c.sh("cut -d ' ' -f 2 etc/sidusboot/stamp")
}

// A heldFile is what a server knows of a file that a client has open.
type heldFile struct {
	c       changedTree
	name    string
	content string
	handle  unix.FileHandle
}

func (c changedTree) hold(name string) heldFile {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	return heldFile{c, name, string(b), handle}
}

// read reads a file by its handle, as an NFS server does it. No other descriptor
// keeps the inode.
func (f heldFile) read() (string, error) {
	dir, err := unix.Open(f.c.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(dir)
	fd, err := unix.OpenByHandleAt(dir, f.handle, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(fd), f.name)
	defer file.Close()
	b := make([]byte, len(f.content)+1)
	n, _ := file.Read(b)
	return string(b[:n]), nil
}

// still checks that the file can be read by its handle, although its name is
// another file's now, or nobody's.
func (f heldFile) still(when string) {
	f.c.t.Helper()
	now, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(f.c.dir, f.name), 0)
	if err == nil && string(now.Bytes()) == string(f.handle.Bytes()) {
		f.c.t.Fatalf("%s: %s was not replaced", when, f.name)
	}
	if got, err := f.read(); err != nil || got != f.content {
		f.c.t.Errorf("%s: %s by its handle: %q, %v, want %q", when, f.name, got, err, f.content)
	}
}

func newChangedTree(t *testing.T) changedTree {
	t.Helper()
	Require(t)
	tree, err := Variant{Suite: "bookworm"}.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := changedTree{t, filepath.Join(t.TempDir(), "tree")}
	cp := exec.CommandContext(t.Context(), "cp", "-a", "--reflink=auto", tree, c.dir)
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.sh(`cd root; mkdir -p p/DEBIAN p/usr/share/sidustest/dir
printf 'Package: sidustest\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n' >p/DEBIAN/control
echo one >p/usr/share/sidustest/kept; echo gone >"p/usr/share/sidustest/dir/a name with blanks"; ln -s kept p/usr/share/sidustest/link
dpkg-deb -b --root-owner-group p 1.deb
rm -r p/usr/share/sidustest/dir; echo two >p/usr/share/sidustest/kept; sed -i 's/^Version.*/Version: 2/' p/DEBIAN/control
dpkg-deb -b --root-owner-group p 2.deb`)
	return c
}

// sidustree runs the product's program.
func sidustree(ctx context.Context, args ...string) (string, error) {
	program, err := filepath.Abs("../bin/sidustree")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("sidustree %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// TestDpkgHook changes a tree by apt and dpkg, with the hook in it: a file that
// was replaced or removed can be read by its handle afterwards, as nodes do that
// have it open; the stamp is another one after each run.
func TestDpkgHook(t *testing.T) {
	t.Parallel()
	c := newChangedTree(t)
	const kept, blanks = "usr/share/sidustest/kept", "usr/share/sidustest/dir/a name with blanks"
	c.sh("chroot . apt-get install -y /root/1.deb")

	// Without the hook it is gone.
	old := c.hold(kept)
	c.sh("chroot . apt-get install -y /root/2.deb")
	if got, err := old.read(); !errors.Is(err, unix.ESTALE) {
		t.Errorf("without the hook: %q, %v, want a stale handle", got, err)
	}
	c.sh("chroot . apt-get install -y --allow-downgrades /root/1.deb")

	if _, err := sidustree(t.Context(), "touch", c.dir, "--install-hook"); err != nil {
		t.Fatal(err)
	}
	held := []heldFile{c.hold(kept), c.hold(blanks)}
	c.sh("chroot . apt-get install -y /root/2.deb")
	for _, f := range held {
		f.still("upgrade")
	}
	if got := c.counter(); got != "1" {
		t.Errorf("the stamp's counter is %s after one run", got)
	}
	if got := c.sh("stat -c %a:%U .sidusboot-aside"); got != "700:root" {
		t.Errorf("the directory is %s, want root's alone", got)
	}
	second := c.hold(kept)
	c.sh("chroot . apt-get install -y --reinstall /root/2.deb")
	second.still("reinstall")
	third := c.hold(kept)
	c.sh("chroot . apt-get remove -y sidustest")
	third.still("remove")
	if got := c.counter(); got != "3" {
		t.Errorf("the stamp's counter is %s after three runs", got)
	}

	// dpkg without apt, and without /proc at first.
	if out := c.sh("chroot . dpkg -i /root/1.deb"); !strings.Contains(out, "nothing is set aside") {
		t.Errorf("dpkg without /proc said %s", out)
	}
	const proc = "mount -t proc proc proc\n"
	fourth := c.hold(kept)
	c.sh(proc + "chroot . sh -c 'cd /root; dpkg -i 2.deb'")
	fourth.still("dpkg -i")
	fifth := c.hold(kept)
	c.sh(proc + "chroot . dpkg -r sidustest")
	fifth.still("dpkg -r")
	if got := c.counter(); got != "6" {
		t.Errorf("the stamp's counter is %s after six runs", got)
	}

	// Long enough ago.
	c.sh(`cd .sidusboot-aside; for s in until-*; do mv $s until-20200101-000000-${s##*-}; done`)
	c.sh("chroot . apt-get install -y /root/1.deb")
	if got := c.sh("ls .sidusboot-aside | wc -l; ls -d .sidusboot-aside/until-2020* 2>/dev/null || :"); got != "1" {
		t.Errorf("sets that are left, and those whose time has ended: %s", got)
	}
	if got, err := fifth.read(); !errors.Is(err, unix.ESTALE) {
		t.Errorf("a file whose time has ended: %q, %v", got, err)
	}

	// What cannot be set aside is not replaced.
	last := c.hold(kept)
	c.sh("rm -r .sidusboot-aside; ln -s /tmp .sidusboot-aside")
	if out, err := c.try("chroot . apt-get install -y /root/2.deb"); err == nil || !strings.Contains(out, "is a link") {
		t.Errorf("set aside into a link: %v: %s", err, out)
	}
	if got := c.sh("cat " + kept + "; ls tmp"); got != "one" {
		t.Errorf("changed in spite of that: %s", got)
	}
	c.sh("SIDUSBOOT_ASIDE=no chroot . apt-get install -y /root/2.deb")
	if got, err := last.read(); !errors.Is(err, unix.ESTALE) {
		t.Errorf("with SIDUSBOOT_ASIDE=no: %q, %v", got, err)
	}
	c.sh("rm .sidusboot-aside")

	// A node that runs this tree: nothing.
	before := c.counter()
	c.sh("mkdir run/sidusboot; chroot . apt-get install -y --allow-downgrades /root/1.deb")
	if got := c.sh("ls -d .sidusboot-aside 2>/dev/null || :"); got != "" || c.counter() != before {
		t.Errorf("on a node: %q, counter %s, was %s", got, c.counter(), before)
	}
	c.sh("rmdir run/sidusboot")
	if _, err := sidustree(t.Context(), "touch", c.dir, "--remove-hook"); err != nil {
		t.Fatal(err)
	}
	c.sh("chroot . apt-get install -y /root/2.deb; chroot . dpkg -i /root/1.deb")
	if got := c.counter(); got != before {
		t.Errorf("the hook is removed and was run: %s, was %s", got, before)
	}
}

// TestDpkgHookKilled kills the hook (SIGKILL) while it waits for each of the programs
// that it runs, before a run of apt and after it, and cp at each link. The tree is as it
// was, the stamp is whole, and the next run works and leaves nothing of the killed one.
// Only in a soak it is each of them, else a third.
func TestDpkgHookKilled(t *testing.T) {
	t.Parallel()
	Require(t)
	if out, err := exec.Command("strace", "-f", "-e", "trace=none", "true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v: %s", err, out)
	}
	c := newChangedTree(t)
	const kept = "usr/share/sidustest/kept"
	c.sh("chroot . apt-get install -y /root/1.deb")
	if _, err := sidustree(t.Context(), "touch", c.dir, "--install-hook"); err != nil {
		t.Fatal(err)
	}
	// What apt tells of an upgrade (apt.conf(5)).
	c.sh(`printf 'VERSION 3\n\nsidustest 1 all none < 2 all none /root/2.deb\n' >root/list; chroot . /etc/sidusboot/dpkg-hook after`)
	for _, test := range []struct {
		way, call string
		least     int
		// killed is the exit status of the hook: itself is killed, or fails since cp is.
		killed int
	}{{"apt", "wait4", 20, 137}, {"apt", "linkat", 3, 1}, {"after", "wait4", 12, 137}} {
		follow := ""
		if test.call == "linkat" {
			follow = "-f"
		}
		hook := "chroot . /etc/sidusboot/dpkg-hook " + test.way + " <root/list 2>&1"
		// The file and the stamp after the killed run; the stamp after the next one, in how
		// many sets the file is then, and what is left of the killed one.
		const counter = "cut -d ' ' -f 2 etc/sidusboot/stamp\n"
		look := "cat " + kept + "; wc -l <etc/sidusboot/stamp; " + counter + hook + " >/dev/null\n" + counter + `
ls -d .sidusboot-aside/until-*/` + kept + ` 2>/dev/null | wc -l
ls -d .sidusboot-aside/until-*/.names .sidusboot-aside/until-*/.files etc/sidusboot/stamp.sidusboot .sidusboot-aside/until-2020* 2>/dev/null || :
find .sidusboot-aside -mindepth 1 -maxdepth 1 -empty 2>/dev/null || :`
		n, step := 1, 3
		if Soaking() {
			step = 1
		}
		for ; ; n += step {
			when := fmt.Sprintf("%s killed at %s number %d", test.way, test.call, n)
			before := "rm -rf .sidusboot-aside\n"
			if test.way == "after" {
				before += "mkdir -p .sidusboot-aside/until-20200101-000000-1; echo old >.sidusboot-aside/until-20200101-000000-1/x\n"
			}
			old := c.sh(before + counter)
			out, err := c.try(fmt.Sprintf("strace %s -qq -o /dev/null -e trace=%s -e inject=%[2]s:signal=KILL:when=%d %s", follow, test.call, n, hook))
			var exit *exec.ExitError
			if err == nil {
				break
			} else if !errors.As(err, &exit) || exit.ExitCode() != test.killed {
				t.Fatalf("%s: %v: %s", when, err, out)
			}
			got := strings.Fields(c.sh(look))
			if len(got) != 5 || got[0] != "one" || got[1] != "1" || got[2] != old && (test.way == "apt" || got[2] != next(old)) {
				t.Fatalf("%s: the tree has %q", when, got)
			}
			if test.way == "apt" && (got[3] != old || got[4] == "0") || test.way == "after" && got[3] != next(got[2]) {
				t.Fatalf("%s: after the next run the tree has %q", when, got)
			}
		}
		if t.Logf("%s: %d calls of %s", test.way, n-step, test.call); n <= test.least {
			t.Errorf("%s: killed up to call %d of %s, want %d at least", test.way, n-step, test.call, test.least)
		}
	}
	// And apt works as ever.
	old := c.hold(kept)
	c.sh("chroot . apt-get install -y /root/2.deb")
	old.still("upgrade")
}

// next is the counter after one more renewal.
func next(counter string) string {
	n, _ := strconv.Atoi(counter)
	return strconv.Itoa(n + 1)
}
