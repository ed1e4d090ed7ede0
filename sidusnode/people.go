package sidusnode

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A login is somebody who is logged in.
type login struct {
	// tty is beneath /dev; empty for one without a terminal.
	tty, user string
}

// Where logind keeps what it knows: a file each, of lines KEY=VALUE. The others keep
// it in utmp.
const (
	sessionsDir = "/run/systemd/sessions"
	inhibitDir  = "/run/systemd/inhibit"
	utmpFile    = "/run/utmp"
)

// people are those who are logged in, by logind and by utmp(5): either may be
// missing, and both may tell of the same one.
func people() ([]login, error) {
	sessions, err := keyFiles(sessionsDir)
	utmp, utmpErr := os.ReadFile(utmpFile)
	if errors.Is(utmpErr, fs.ErrNotExist) {
		utmpErr = nil
	}
	alive := func(pid int) bool { return !errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
	return append(sessionLogins(sessions), utmpLogins(utmp, alive)...), errors.Join(err, utmpErr)
}

func sessionLogins(sessions []record) (all []login) {
	for _, s := range sessions {
		// The others are user managers, login screens and jobs of cron. root's is
		// user-early since systemd 256 (pam_systemd(8)).
		if strings.HasPrefix(s.get("CLASS"), "user") && s.get("STATE") != "closing" {
			all = append(all, login{s.get("TTY"), s.get("USER")})
		}
	}
	return all
}

// Of utmp(5) as glibc has it on 64 bits.
const (
	utmpSize    = 384
	userProcess = 7
)

func utmpLogins(utmp []byte, alive func(pid int) bool) (all []login) {
	text := func(b []byte) string { s, _, _ := strings.Cut(string(b), "\x00"); return s }
	for ; len(utmp) >= utmpSize; utmp = utmp[utmpSize:] {
		if binary.NativeEndian.Uint16(utmp) == userProcess && alive(int(int32(binary.NativeEndian.Uint32(utmp[4:])))) {
			all = append(all, login{text(utmp[8:40]), text(utmp[44:76])})
		}
	}
	return all
}

// warn writes a line to the terminals of those who are logged in.
func warn(text string) error {
	all, err := people()
	errs := []error{err}
	for _, p := range all {
		if p.tty == "" || !filepath.IsLocal(p.tty) {
			continue
		}
		// A terminal that takes nothing must not keep others from it.
		fd, err := unix.Open("/dev/"+p.tty, unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			_, err = unix.Write(fd, []byte("\r\n\a"+text+"\r\n"))
			unix.Close(fd)
		}
		if err != nil {
			errs = append(errs, &fs.PathError{Op: "write", Path: "/dev/" + p.tty, Err: err})
		}
	}
	return errors.Join(errs...)
}

// keyFiles are the regular files of a directory, each as its keys and values. One that vanishes
// meanwhile is left out.
func keyFiles(dir string) (all []record, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, err
		}
		all = append(all, parseKeys(string(text)))
	}
	return all, err
}

// parseKeys reads lines of KEY=VALUE.
func parseKeys(text string) (keys record) {
	for l := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "=")
		keys.add(key, value)
	}
	return keys
}
