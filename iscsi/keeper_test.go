package iscsi_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

// A fakeSession hands out what Watch and Recover have to say, one by one.
type fakeSession struct {
	watch, recover []error
	recovered      int
	skipped        error
}

func (f *fakeSession) Watch(context.Context) error {
	err := f.watch[0]
	f.watch = f.watch[1:]
	return err
}

func (f *fakeSession) Recover(context.Context) error {
	f.recovered++
	err := f.recover[0]
	f.recover = f.recover[1:]
	return err
}

func (f *fakeSession) State() (string, error) { return iscsi.LoggedIn, nil }
func (f *fakeSession) AdmitSkipped() error    { return f.skipped }

func TestKeeper(t *testing.T) {
	broken, refused := &iscsi.ConnError{Code: 1020}, errors.New("refused")
	taken := &iscsi.KernelError{Op: "bind", Err: iscsi.ErrTakenOver}
	gone := iscsi.ErrGone
	for _, tt := range []struct {
		name     string
		session  fakeSession
		iscsid   bool
		hurry    bool
		stop     bool
		want     int // attempts
		loggedIn int
		least    time.Duration
		most     time.Duration
	}{
		{name: "logs in until it succeeds", session: fakeSession{watch: []error{broken, gone}, recover: []error{refused, nil}}, want: 2, loggedIn: 1, least: time.Second / 2, most: 3 * time.Second / 2},
		{name: "again and again", session: fakeSession{watch: []error{broken, broken, gone}, recover: []error{nil, nil}}, want: 2, loggedIn: 2},
		{name: "pauses grow", session: fakeSession{watch: []error{broken, gone}, recover: []error{refused, refused, refused, refused, refused, refused, nil}}, want: 7, loggedIn: 1, least: 22 * time.Second, most: 68 * time.Second},
		{name: "but not in a hurry", session: fakeSession{watch: []error{broken, gone}, recover: []error{refused, refused, refused, refused, refused, refused, nil}}, hurry: true, want: 7, loggedIn: 1, least: 5 * time.Second, most: 6 * time.Second},
		{name: "Refused says stop", session: fakeSession{watch: []error{broken, gone}, recover: []error{refused}}, stop: true, want: 1},
		{name: "ends with the session", session: fakeSession{watch: []error{gone}}},
		{name: "gone while recovering", session: fakeSession{watch: []error{broken, gone}, recover: []error{gone}}, want: 1},
		{name: "another process logs in meanwhile", session: fakeSession{watch: []error{broken, gone}, recover: []error{taken}}, want: 1, loggedIn: 1, least: time.Second, most: time.Second},
		{name: "the target refuses the check", session: fakeSession{watch: []error{broken, gone}, recover: []error{nil}, skipped: errors.New("one session only")}, want: 1, loggedIn: 1},
		// Two who log in on one session can bring the kernel down.
		{name: "iscsid runs", session: fakeSession{watch: []error{broken, gone}}, iscsid: true, loggedIn: 1, least: 5 * time.Second, most: 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				loggedIn := 0
				var attempts []int
				k := &iscsi.Keeper{
					Session: &tt.session, OtherOwner: func() bool { return tt.iscsid }, LoggedIn: func() { loggedIn++ }, Logf: t.Logf,
					Refused: func(attempt int, err error) (time.Duration, bool) {
						attempts = append(attempts, attempt)
						return 0, tt.stop
					},
				}
				k.Hurry(tt.hurry)
				start := time.Now()
				if err := k.Run(t.Context()); !errors.Is(err, gone) || tt.session.recovered != tt.want || loggedIn != tt.loggedIn {
					t.Errorf("Run = %v after %d attempts and %d logins, want %d and %d", err, tt.session.recovered, loggedIn, tt.want, tt.loggedIn)
				}
				if took := time.Since(start); took < tt.least || took > tt.most {
					t.Errorf("it took %v, want %v to %v", took, tt.least, tt.most)
				}
				for i, attempt := range attempts {
					if attempt != i+1 {
						t.Errorf("attempts %d", attempts)
						break
					}
				}
			})
		})
	}
}

// The keeper leaves a session to root's iscsid in its own network namespace, and
// to nothing that only bears the name.
func TestRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("starts processes of other users, which needs root")
	}
	t.Parallel()
	const name = "iscsid-of-test"
	program := filepath.Join(t.TempDir(), name)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(program); strings.HasPrefix(dir, "/tmp/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		attr syscall.SysProcAttr
		want bool
	}{
		{"root's", syscall.SysProcAttr{}, true},
		{"a user's", syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, false},
		{"a container's", syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(program, "60")
			cmd.SysProcAttr = &tt.attr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if got := iscsi.Runs(name); got != tt.want {
				t.Errorf("%s: runs = %v, want %v", tt.name, got, tt.want)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
		})
	}
	if iscsi.Runs(name) {
		t.Error("it runs after its end")
	}
}
