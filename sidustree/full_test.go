package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/command"
)

// fullEnv names the directory of TestFullDiskInside.
const fullEnv = "SIDUSTREE_FULL"

// TestFullDisk has a small file system, in a mount namespace of its own.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	for name, mount := range map[string]string{
		"tmpfs":             "mount -t tmpfs -o size=1m none .",
		"tmpfs, few inodes": "mount -t tmpfs -o size=8m,nr_inodes=100 none .",
		"ext4":              "truncate -s 4M ../disk; mkfs.ext4 -q -N 128 -m 0 ../disk; mount -o loop ../disk .",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "disk.d")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-ec", "cd "+dir+"; "+mount).CombinedOutput(); err != nil {
				t.Skipf("%v: %s", err, out)
			}
			cmd := exec.CommandContext(t.Context(), "unshare", "-m", "--propagation", "private", "sh", "-ec",
				"cd "+dir+"; rm -f ../disk; "+mount+"; cd /; exec "+os.Args[0]+" -test.run '^TestFullDiskInside$' -test.v")
			cmd.Env = append(os.Environ(), fullEnv+"="+dir)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestFullDiskInside leaves every command less and less space.
func TestFullDiskInside(t *testing.T) {
	dir := os.Getenv(fullEnv)
	if dir == "" {
		t.Skip("run by TestFullDisk")
	}
	r := newTestBase(t, dir)
	r.sh("head -c 60000 /dev/zero | tr '\\0' x >base/staging/etc/large; rm -rf lost+found; mkdir -p tree/var/lib/dpkg")
	r.contents["c"] = r.describe("base/staging")
	r.contents["n"] = r.contents["c"]
	save := filepath.Join(filepath.Dir(dir), "save") // on another disk
	r.sh("cp -a . " + save)
	worked, full := 0, 0
	for _, args := range [][]string{
		{"publish", "base", "--id=c"}, {"rollback", "base", "a"}, {"gc", "base", "--keep=1", "--assume-unused"},
		{"touch", "tree"}, {"touch", "tree", "--install-hook"},
	} {
		args[1] = r.path(args[1])
		for _, free := range []int{0, 2, 6, 15, 40, 90} {
			when := fmt.Sprintf("%q with %d kB and as many inodes free", args[0], free)
			fill(t, r.path("fill"), free)
			if command.Run(rootCommand(), args, io.Discard, io.Discard) == 0 {
				worked++
			} else {
				full++
			}
			r.whole(when)
			r.sh("rm -rf fill")
			r.must("publish", r.path("base"), "--id=n")
			r.whole("after " + when)
			if args[0] == "touch" {
				r.must(args...)
			}
			r.nothingLeft("after " + when)
			r.sh("rm -rf base tree; cp -a " + save + "/. .")
		}
	}
	if worked < 5 || full < 3 {
		t.Errorf("%d worked and %d found no space: the disk was not full", worked, full)
	}
	t.Logf("%d worked, %d found no space", worked, full)
}

// fill takes all space and all inodes, and gives some back.
func fill(t *testing.T, dir string, free int) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 1024), 0o644)
		if errors.Is(err, unix.ENOSPC) {
			break
		}
		if err != nil || i > 10000 {
			t.Fatalf("%d files: %v", i, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries[:min(free, len(entries))] {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}
