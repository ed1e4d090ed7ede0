package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRunnable(t *testing.T) {
	root := t.TempDir()
	mustMkdir(t, root+"/lib64")
	self, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	check := func(b []byte) error { return At(root).runnable(bytes.NewReader(b), int64(len(b))) }
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
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			if err := check(b); err == nil {
				t.Errorf("check of %d damaged bytes: no error", len(b))
			}
		})
	}
}

// compile32 compiles a static 32-bit program, or skips.
func compile32(t *testing.T, args ...string) []byte {
	t.Helper()
	output := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("gcc", append([]string{"-m32", "-nostdlib", "-ffreestanding", "-x", "c", "-", "-o", output}, args...)...)
	cmd.Stdin = strings.NewReader(`void _start(void) { __asm__ volatile ("int $0x80" : : "a" (1), "b" (0)); }`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("gcc -m32: %v, %s", err, out)
	}
	b, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// runsHere tells whether this machine's kernel runs a program.
func runsHere(t *testing.T, program []byte) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, program, 0o755); err != nil {
		t.Fatal(err)
	}
	err := exec.Command(file).Run()
	if err != nil && !errors.Is(err, unix.ENOEXEC) {
		t.Fatal(err)
	}
	return err == nil
}

func TestRunnable32(t *testing.T) {
	if machine32 != 3 {
		t.Skip("i386 belongs to amd64")
	}
	root := t.TempDir()
	check := func(b []byte) error { return At(root).runnable(bytes.NewReader(b), int64(len(b))) }
	static := compile32(t, "-static")
	if !runsHere(t, static) {
		if err := check(static); !errors.Is(err, unix.ENOEXEC) || !strings.Contains(err.Error(), "ia32_emulation=1") {
			t.Errorf("a static program: %v", err)
		}
		t.Skip("this machine's kernel runs no 32-bit programs")
	}
	if err := check(static); err != nil {
		t.Errorf("a static program: %v", err)
	}
	dynamic := compile32(t, "-pie", "-fPIE", "-Wl,--dynamic-linker=/lib/ld-linux.so.2")
	if err := check(dynamic); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "its dynamic loader /lib/ld-linux.so.2") {
		t.Errorf("a dynamic program in a tree without its loader: %v", err)
	}
	mustMkdir(t, root+"/lib")
	if err := os.WriteFile(root+"/lib/ld-linux.so.2", []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := check(dynamic); err != nil {
		t.Errorf("a dynamic program with its loader: %v", err)
	}
	static[18] = 40 // EM_ARM
	if err := check(static); !errors.Is(err, unix.ENOEXEC) || !strings.Contains(err.Error(), "ELF machine 40, 32 bits") {
		t.Errorf("a program for arm: %v", err)
	}
}

// FuzzRunnable looks at headers that a tree may have.
func FuzzRunnable(f *testing.F) {
	f.Add(tiny32())
	if self, err := os.ReadFile("/bin/sh"); err == nil {
		f.Add(self[:1024])
	}
	root := f.TempDir()
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = At(root).runnable(bytes.NewReader(b), int64(len(b)))
	})
}
