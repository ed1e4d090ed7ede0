package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/tree"
)

// moved are the mounts that the real init inherits, and where in the union
// they go.
var moved = []string{roDir, rwDir, "/dev", "/proc", "/sys", "/run"}

// handover leaves the initramfs for the union and becomes the tree's init. It
// returns only on a failure, after which this boot cannot go on.
func (n *node) handover() error {
	program, err := tree.At(unionDir).FindInit(n.cfg.Init)
	if err != nil {
		return err
	}
	n.report.Init = program
	argv := append([]string{program}, os.Args[1:]...)
	env := realEnv(os.Environ(), n.cfg.Consumed)
	n.stages.Begin("handover", program)
	n.log.Noticef("handing over to %s", strings.Join(argv, " "))
	n.saveReport()
	n.log.RestoreLimit()
	for _, dir := range moved {
		if err := unix.Mount(dir, filepath.Join(unionDir, dir), "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s into the union: %w", dir, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		return err
	}
	mounts.RemoveContents("/", st.Dev) // The initramfs: its memory is of no use any more.
	if err := mounts.SwitchRoot(unionDir); err != nil {
		return err
	}
	if err := openConsole(); err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", program, unix.Exec(program, argv, env))
}

// openConsole gives the real init the console of its own /dev: the one that
// the kernel opened is a file of the initramfs.
func openConsole() error {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil // There may be none (console=null): keep what there is.
	}
	for target := range 3 {
		if err := unix.Dup2(fd, target); err != nil {
			return fmt.Errorf("console: %w", err)
		}
	}
	if fd > 2 {
		return unix.Close(fd)
	}
	return nil
}

// realEnv is the environment that the kernel made of unknown parameters, without
// those that were for /init: some hold secrets.
func realEnv(env []string, consumed map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return consumed[name]
	})
}
