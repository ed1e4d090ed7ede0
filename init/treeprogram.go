package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// treeMounts are what a program in the tree cannot do without.
var treeMounts = []string{"/dev", "/proc", "/sys", "/run"}

// bindInto makes /dev and the like visible in the tree at root until undo is
// called. A tree that lacks one of these directories does without it.
func bindInto(root string) (undo func(), err error) {
	var bound []string
	undo = func() {
		for _, dir := range bound {
			_ = unix.Unmount(root+dir, unix.MNT_DETACH)
		}
	}
	for _, dir := range treeMounts {
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
			return nil, fmt.Errorf("bind %s into the tree: %w", dir, err)
		}
		bound = append(bound, dir)
	}
	return undo, nil
}

// maxOutput is how much is kept of what a program of the tree says.
const maxOutput = 4096

// maxProgress is the longest line that is heard of a program's progress.
const maxProgress = 4096

// Run runs a program of the tree in /ro and waits for its end. heard, which may
// be nil, is called with each line that the program writes to
// rwlayer.ProgressFD.
func (s *system) Run(heard func(line string), argv ...string) (output string, status int, err error) {
	undo, err := bindInto(roDir)
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
	progress, pw, err := os.Pipe()
	if err != nil {
		w.Close()
		return "", 0, err
	}
	defer progress.Close()
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir: "/", Env: treeEnv, Files: []*os.File{null, w, w, rwlayer.ProgressFD: pw},
		Sys: &syscall.SysProcAttr{Chroot: roDir},
	})
	w.Close()
	pw.Close()
	if err != nil {
		return "", 0, err
	}
	s.setChild(p.Pid)
	defer s.setChild(0)
	read := panics.Go(func() error { return hear(progress, heard) })
	b, readErr := io.ReadAll(io.LimitReader(r, maxOutput))
	_, drainErr := io.Copy(io.Discard, r)
	state, err := p.Wait()
	// Only the program has the other end.
	hearErr := <-read
	if err := errors.Join(err, readErr, drainErr, hearErr); err != nil {
		return "", 0, fmt.Errorf("%s: %w", argv[0], err)
	}
	if state.ExitCode() < 0 {
		return string(b), 0, fmt.Errorf("%s: %s", argv[0], state)
	}
	return string(b), state.ExitCode(), nil
}

// hear calls heard with each line, and takes all to the end in any case: a program
// that cannot write stops.
func hear(r io.Reader, heard func(line string)) error {
	b := bufio.NewReaderSize(r, maxProgress)
	for {
		line, _, err := b.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if heard != nil {
			heard(string(line))
		}
	}
}

// treeEnv is the environment of programs of the tree.
var treeEnv = []string{"HOME=/", "TERM=linux", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PS1=sidusboot# "}
