package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/kmod"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
)

func TestFindInit(t *testing.T) {
	root := t.TempDir()
	mustMkdir(t, root+"/sbin", root+"/usr/lib/systemd", root+"/bin")
	if name, err := findInit(root, ""); err == nil || !strings.Contains(err.Error(), "/sbin/init, /etc/init") {
		t.Errorf("empty tree: findInit = %q, %v", name, err)
	}
	program := root + "/usr/lib/systemd/systemd"
	if err := os.WriteFile(program, []byte("#!"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustLink(t, "/lib/systemd/systemd", root+"/sbin/init")
	mustLink(t, "usr/lib", root+"/lib")
	if name, err := findInit(root, ""); err == nil || !strings.Contains(err.Error(), "no executable file") {
		t.Errorf("not executable: findInit = %q, %v", name, err)
	}
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	if name, err := findInit(root, ""); name != "/sbin/init" || err != nil {
		t.Errorf("findInit = %q, %v, want /sbin/init", name, err)
	}
	if err := checkInit(root, ""); err == nil {
		t.Error("checkInit of two bytes: no error")
	}
	if err := os.WriteFile(program, make([]byte, 100), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkInit(root, ""); err == nil || !strings.Contains(err.Error(), "first bytes are 0x00000000") {
		t.Errorf("checkInit of zeros: %v", err)
	}
	if err := os.WriteFile(program, []byte("#! /bin/interpreter -x\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkInit(root, ""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "its interpreter /bin/interpreter cannot be run") {
		t.Errorf("checkInit of a script without its interpreter: %v", err)
	}
	if err := os.WriteFile(root+"/bin/interpreter", []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkInit(root, ""); err != nil && !errors.Is(err, nfs.ErrOwner) {
		t.Errorf("checkInit: %v", err)
	}
	if name, err := findInit(root, "/opt/none"); err == nil || !strings.Contains(err.Error(), "no program /opt/none: check init=") {
		t.Errorf("init=/opt/none: findInit = %q, %v", name, err)
	}
	mustLink(t, "loop", root+"/bin/loop")
	if name, err := findInit(root, "/bin/loop"); err == nil {
		t.Errorf("endless link: findInit = %q", name)
	}
}

func TestRunnable(t *testing.T) {
	root := t.TempDir()
	mustMkdir(t, root+"/lib64")
	self, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	check := func(b []byte) error { return runnable(root, bytes.NewReader(b), int64(len(b))) }
	err = check(self)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "its dynamic loader /lib64/ld-linux") {
		t.Errorf("a dynamic program in a tree without a loader: %v", err)
	}
	if err := os.WriteFile(root+"/lib64/ld-linux-x86-64.so.2", []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := check(self); err != nil {
		t.Errorf("with its loader: %v", err)
	}
	other := bytes.Clone(self)
	other[18] = 183 // EM_AARCH64
	if err := check(other); !errors.Is(err, unix.ENOEXEC) || !strings.Contains(err.Error(), "ELF machine 183") {
		t.Errorf("a program for arm64: %v", err)
	}
	static, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := check(static); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("this program: %v", err)
	}
	for _, b := range [][]byte{[]byte("\x7fELF"), self[:60], append(bytes.Clone(self[:64]), 1, 2, 3), []byte("#!"), []byte("#! \n")} {
		if err := check(b); err == nil {
			t.Errorf("check of %d damaged bytes: no error", len(b))
		}
	}
}

func TestRealEnv(t *testing.T) {
	env := []string{"HOME=/", "TERM=linux", "ISCSI_PASSWORD=secret", "ip=dhcp", "lang=fr=x", "BOOTIF=01-52"}
	got := strings.Join(realEnv(env, map[string]bool{"ISCSI_PASSWORD": true, "ip": true, "BOOTIF": true}), " ")
	if want := "HOME=/ TERM=linux lang=fr=x"; got != want {
		t.Errorf("realEnv = %q, want %q", got, want)
	}
}

func TestMendable(t *testing.T) {
	missing := &bootlog.StageError{Stage: "nfs", Err: fmt.Errorf("x: %w", &kmod.MissingError{Name: "nfsv3"})}
	for err, want := range map[error]bool{missing: false, &bootlog.StageError{Stage: "union", Err: overlay.ErrNone}: false, &bootlog.StageError{Stage: "nfs", Err: unix.ETIMEDOUT}: true} {
		if got := mendable(err); got != want {
			t.Errorf("mendable(%v) = %v, want %v", err, got, want)
		}
	}
}

func TestRetryDelay(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		for range 100 {
			if d := retryDelay(attempt); d < firstRetry/2 || d > 3*maxRetry/2 {
				t.Fatalf("retryDelay(%d) = %v", attempt, d)
			}
		}
	}
}

func mustMkdir(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func mustLink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
