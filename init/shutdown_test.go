package main

import (
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

// Each of two processes would start the other again: both are stopped at once.
func TestStopAll(t *testing.T) {
	const first, second = "@sidusboot-test-first", "@sidusboot-test-second"
	script := "while :; do (exec -a " + second + " sleep 60); done"
	cmd := exec.Command("bash", "-c", script)
	cmd.Args[0] = first
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		pids, err := processes(second)
		if err != nil || time.Since(start) > 20*time.Second {
			t.Fatalf("%v, %v", pids, err)
		}
		if len(pids) == 1 {
			break
		}
	}
	// The first was not collected, which has no command line any more.
	if err := stopAll(second, first); err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond)
	if pids, err := processes(first, second); len(pids) != 0 || err != nil {
		t.Errorf("processes %v are left, %v", pids, err)
	}
}
