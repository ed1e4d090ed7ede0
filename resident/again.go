package resident

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/sidusnode"
)

// A soft-reboot takes /run along without what is mounted in it (systemd's
// src/shared/switch-root.c), and so residentDir, with the program in it, is gone for
// all others. The resident processes still have it, and mount it again.

// updateTime is how long a soft-reboot is waited for.
const updateTime = 10 * time.Minute

// awaitUpdates has the tree looked at when a soft-reboot has taken residentDir away:
// to look mounts it again. Without it that would come with the next look, up to a
// minute later. Who orders one opens a FIFO for writing.
func awaitUpdates(log Log) error {
	fifo := "/" + filepath.Base(sidusnode.UpdateFIFO)
	for {
		// It waits here for a writer.
		f, err := os.Open(fifo)
		if err != nil {
			return err
		}
		f.Close()
		for begin := clock.Uptime(); clock.Uptime()-begin < updateTime; time.Sleep(time.Second) {
			all, err := mounts.Read("/proc/1/mountinfo")
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(all, func(m mounts.Point) bool { return m.Dir == residentDir }) {
				if err := residentStep(lookLimit, lookStep); err != nil {
					log.Errorf("check the tree for changes: %v", err)
				}
				break
			}
		}
	}
}

// enterInitWithProgram is enterInit, and sees to it that Program is there.
func enterInitWithProgram() error {
	own, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil && !errors.Is(err, unix.ENOSYS) { // Linux 5.2; systemd with soft-reboots is younger.
		return fmt.Errorf("clone the mount of %s: %w", residentDir, err)
	}
	defer unix.Close(own)
	if err := mounts.EnterInit(); err != nil {
		return fmt.Errorf("enter the mount namespace of PID 1: %w", err)
	}
	if _, err := os.Stat(Program); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := unix.MoveMount(own, "", unix.AT_FDCWD, residentDir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s again: %w", residentDir, err)
	}
	return nil
}
