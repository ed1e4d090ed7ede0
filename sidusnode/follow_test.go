package sidusnode

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFollow(t *testing.T) {
	type look struct {
		at            time.Duration
		runs, current string
		want          move
	}
	const wait = 10 * time.Second
	for name, c := range map[string]struct {
		policy string
		looks  []look
	}{
		"now": {followNow, []look{
			{0, "a", "a", moveNone}, {60 * time.Second, "a", "b", moveWarn}, {120 * time.Second, "a", "b", moveNone},
			{130 * time.Second, "a", "b", moveUpdate},
		}},
		"idle": {followIdle, []look{
			{0, "a", "", moveNone}, {60 * time.Second, "a", "b", moveNone}, {70 * time.Second, "a", "b", moveIdle}, {130 * time.Second, "a", "b", moveIdle},
		}},
		"another one meanwhile": {followNow, []look{
			{0, "a", "b", moveWarn}, {60 * time.Second, "a", "c", moveWarn}, {120 * time.Second, "a", "c", moveNone}, {130 * time.Second, "a", "c", moveUpdate},
		}},
		"taken back": {followNow, []look{{0, "a", "b", moveWarn}, {60 * time.Second, "a", "a", moveNone}, {500 * time.Second, "a", "b", moveWarn}}},
	} {
		var f follow
		for _, l := range c.looks {
			// As one look leaves it for the next.
			f = parseFollow(f.record())
			if got := f.next(l.at, c.policy, l.runs, l.current, wait); got != l.want {
				t.Errorf("%s: at %v with %s current: %v, want %v", name, l.at, l.current, got, l.want)
			}
		}
	}
	// What was tried is not tried again, the next version is.
	f := follow{tried: "b"}
	for at, current := range []string{"b", "b", "c"} {
		want := moveNone
		if current == "c" {
			want = moveWarn
		}
		if got := f.next(time.Duration(at)*time.Hour, followNow, "a", current, 0); got != want {
			t.Errorf("%s after a trial of b: %v, want %v", current, got, want)
		}
	}
}

func TestLogins(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"1": "UID=0\nUSER=ann\nSTATE=active\nTTY=pts/0\nCLASS=user\n", "2": "USER=sddm\nSTATE=online\nCLASS=greeter\n",
		"3": "USER=bob\nSTATE=closing\nCLASS=user\n", "4": "USER=cat\nSTATE=online\nCLASS=user", "5": "USER=root\nSTATE=active\nTTY=ttyS0\nCLASS=user-early\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// logind's: to open it would wait.
	if err := unix.Mkfifo(filepath.Join(dir, "1.ref"), 0o600); err != nil {
		t.Fatal(err)
	}
	sessions, err := keyFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sessionLogins(sessions), []login{{"pts/0", "ann"}, {"", "cat"}, {"ttyS0", "root"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("sessions: got %v, want %v", got, want)
	}
	if all, err := keyFiles(dir + "/none"); err != nil || all != nil {
		t.Errorf("no directory: %v, %v", all, err)
	}
	record := func(kind uint16, pid uint32, line, user string) []byte {
		b := make([]byte, utmpSize)
		binary.NativeEndian.PutUint16(b, kind)
		binary.NativeEndian.PutUint32(b[4:], pid)
		copy(b[8:], line)
		copy(b[44:], user)
		return b
	}
	utmp := append(record(2, 1, "~", "reboot"), record(userProcess, 7, "tty1", "ann")...)
	utmp = append(append(utmp, record(userProcess, 8, "pts/3", "gone")...), record(8, 7, "pts/1", "")...)
	got := utmpLogins(append(utmp, "half a record"...), func(pid int) bool { return pid == 7 })
	if want := []login{{"tty1", "ann"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("utmp: got %v, want %v", got, want)
	}
}
