// Package chroot runs programs of another system in its own root directory, with
// the /dev, /proc, /sys and /run of this one.
package chroot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/tree"
)

// Env is the environment of the programs.
func Env() []string {
	return []string{"HOME=/", "TERM=linux", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PS1=sidusboot# "}
}

// bound are the directories that a program cannot do without.
var bound = []string{"/dev", "/proc", "/sys", "/run"}

// bind makes the directories visible in root until undo is called. A system that
// lacks one of them does without it.
func bind(root string) (undo func(), err error) {
	var done []string
	undo = func() {
		for _, dir := range done {
			_ = unix.Unmount(root+dir, unix.MNT_DETACH)
		}
	}
	if root == "/" {
		return undo, nil
	}
	for _, dir := range bound {
		// mount(2) would follow a link out of the tree.
		if info, err := tree.At(root).Lstat(dir); err != nil || !info.IsDir() {
			continue
		}
		err := unix.Mount(dir, root+dir, "", unix.MS_BIND, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			undo()
			return nil, fmt.Errorf("bind %s into %s: %w", dir, root, err)
		}
		done = append(done, dir)
	}
	return undo, nil
}

// maxOutput is how much is kept of what a program writes.
const maxOutput = 4096

// maxLine is the longest line that OnLine is called with; longer ones are cut.
const maxLine = 4096

// Options are those of Run.
type Options struct {
	// OnLine is called with each line that the program writes to the file
	// descriptor LineFD, which is at least 3. It may be nil.
	OnLine func(line string)
	LineFD int
	// Running is called with the program's process ID, and with 0 at its end.
	Running func(pid int)
}

// Run runs a program of the system in root and waits for its end. It returns the
// beginning of what the program wrote, and its exit status.
func Run(root string, o Options, argv ...string) (output string, status int, err error) {
	undo, err := bind(root)
	if err != nil {
		return "", 0, err
	}
	defer undo()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return "", 0, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	lines, lw, err := os.Pipe()
	if err != nil {
		w.Close()
		return "", 0, err
	}
	defer lines.Close()
	files := make([]*os.File, o.LineFD+1)
	copy(files, []*os.File{null, w, w})
	files[o.LineFD] = lw
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir: "/", Env: Env(), Files: files, Sys: &syscall.SysProcAttr{Chroot: root},
	})
	w.Close()
	lw.Close()
	if err != nil {
		return "", 0, err
	}
	o.Running(p.Pid)
	defer o.Running(0)
	read := panics.Go(func() error { return readLines(lines, o.OnLine) })
	b, readErr := io.ReadAll(io.LimitReader(r, maxOutput))
	_, drainErr := io.Copy(io.Discard, r)
	state, err := p.Wait()
	// Only the program has the other end.
	linesErr := <-read
	if err := errors.Join(err, readErr, drainErr, linesErr); err != nil {
		return "", 0, fmt.Errorf("%s: %w", argv[0], err)
	}
	if state.ExitCode() < 0 {
		return string(b), 0, fmt.Errorf("%s: %s", argv[0], state)
	}
	return string(b), state.ExitCode(), nil
}

// readLines calls onLine with each line, and reads to the end in any case: a
// program that cannot write stops.
func readLines(r io.Reader, onLine func(line string)) error {
	b := bufio.NewReaderSize(r, maxLine)
	for {
		line, _, err := b.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if onLine != nil {
			onLine(string(line))
		}
	}
}

// FindShell returns the first of the roots that has a /bin/sh, and that; else "/"
// with the program rescue, where there is one. With neither program is empty.
func FindShell(rescue string, roots ...string) (root, program string) {
	for _, root := range roots {
		const sh = "/bin/sh"
		if tree.At(root).Executable(sh) == nil {
			return root, sh
		}
	}
	if tree.At("/").Executable(rescue) == nil {
		return "/", rescue
	}
	return "", ""
}

// Shell runs a shell of the system in root on the console, and waits for its end.
func Shell(root, program string) error {
	undo, err := bind(root)
	if err != nil {
		return err
	}
	defer undo()
	console, err := os.OpenFile("/dev/console", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer console.Close()
	// busybox goes by the name that it is called by.
	p, err := os.StartProcess(program, []string{"sh"}, &os.ProcAttr{
		Dir:   "/",
		Env:   Env(),
		Files: []*os.File{console, console, console},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Chroot: root},
	})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	reap()
	return err
}

// reap collects the children that the shell has left to PID 1.
func reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if pid <= 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
			return
		}
	}
}
