package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What systemd 252 leaves to the shutdown of a node on its LUN, shortened: the
// union was made after what was moved into it, and the volume is mounted below
// it, or no more.
const mountinfo = `21 60 0:19 / /oldroot/proc rw,nosuid - proc proc rw
22 60 0:20 / /oldroot/sys rw - sysfs sysfs rw
23 60 0:5 / /oldroot/dev rw - devtmpfs devtmpfs rw
24 60 0:21 / /oldroot/run rw - tmpfs tmpfs rw
30 60 0:30 / /oldroot/ro ro - nfs 10.0.0.1:/srv ro
31 60 8:0 / /oldroot/rw rw - ext4 /dev/sda rw
60 61 0:33 / /oldroot rw - overlay /rw rw
62 31 8:16 / /oldroot/rw/with\040blank rw - ext4 /dev/sdb rw
63 24 0:40 / /oldroot/run/initramfs rw - tmpfs sidusboot rw
64 63 0:41 / /oldroot/run/initramfs rw - tmpfs second rw
61 1 0:40 / / rw - tmpfs sidusboot rw
`

func TestLeavesFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mountinfo")
	if err := os.WriteFile(path, []byte(mountinfo), 0o600); err != nil {
		t.Fatal(err)
	}
	mounts, err := readMounts(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range leavesFirst(mounts) {
		text := m.dir
		if m.data {
			text += " data"
		}
		got = append(got, text)
	}
	want := []string{
		"/oldroot/run/initramfs", "/oldroot/run/initramfs", "/oldroot/rw/with blank data",
		"/oldroot/rw data", "/oldroot/ro", "/oldroot/run", "/oldroot/dev", "/oldroot/sys", "/oldroot/proc",
		"/oldroot data", "/",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWaitGone(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid)
	// The kernel lets go of the parent before it sets the new command line.
	for b := []byte(nil); len(b) == 0; {
		var err error
		if b, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = cmd.Process.Kill()
	}()
	start := time.Now()
	if err := waitGone(path); err != nil || time.Since(start) < 100*time.Millisecond {
		t.Errorf("waitGone = %v after %v, although nobody has collected it", err, time.Since(start))
	}
	_ = cmd.Wait()
	if err := waitGone(path); err != nil {
		t.Errorf("of a process that is no more: %v", err)
	}
}
