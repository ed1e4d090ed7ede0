package mounts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	mounts, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range LeavesFirst(mounts) {
		text := m.Dir
		if m.Data {
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

// Where nothing can be mounted nothing has to be unmounted.
func TestDetachAbsent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may unmount")
	}
	dir := t.TempDir()
	if err := Detach(dir+"/gone", dir); err != nil {
		t.Error(err)
	}
}
