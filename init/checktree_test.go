package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/nfs"
)

// smallTree has a program, a link, a directory and a small text.
func smallTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"/sbin", "/etc", "/usr/lib"} {
		mustMkdir(t, root+dir)
	}
	mustLink(t, "usr/lib", root+"/lib")
	mustLink(t, "../usr/lib/os-release", root+"/etc/os-release")
	for name, text := range map[string]string{"/usr/lib/os-release": "NAME=x\n", "/sbin/init": "#! /sbin/x\n", "/sbin/x": "x"} {
		if err := os.WriteFile(root+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCheckTree(t *testing.T) {
	ignoreOwner := func(err error) error {
		if errors.Is(err, nfs.ErrOwner) { // Not run by root.
			return nil
		}
		return err
	}
	root := smallTree(t)
	if err := ignoreOwner(checkTree(root, "")); err != nil {
		t.Errorf("checkTree: %v", err)
	}
	if err := checkUnion(root, ""); err != nil {
		t.Errorf("checkUnion: %v", err)
	}
	if err := os.WriteFile(root+"/usr/lib/os-release", make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := checkReads(root); err == nil || !strings.Contains(err.Error(), "read /etc/os-release: got nothing but zeros") {
		t.Errorf("a text of zeros: %v", err)
	}
	if err := checkUnion(root, ""); err != nil {
		t.Errorf("a text of zeros in the node's own layer: %v", err)
	}
	// What is in the place of a text is no reason to refuse the tree.
	if err := os.Remove(root + "/etc/os-release"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(root+"/etc/os-release", 0o644); err != nil {
		t.Fatal(err)
	}
	mustMkdir(t, root+"/etc/passwd")
	if err := checkReads(root); err != nil {
		t.Errorf("a FIFO and a directory in place of texts: %v", err)
	}
	if err := checkList(t.TempDir(), "/"); err == nil {
		t.Error("an empty root: no error")
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
	check := func(b []byte) error { return runnable(root, bytes.NewReader(b), int64(len(b))) }
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
	if err := check(static); !errors.Is(err, unix.ENOEXEC) || !strings.Contains(err.Error(), "ELF machine 40 of 32 bits") {
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
		_ = runnable(root, bytes.NewReader(b), int64(len(b)))
	})
}
