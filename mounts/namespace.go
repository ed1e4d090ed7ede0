package mounts

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// EnterInit takes this thread, which must become another program or end with its
// process, into PID 1's mount namespace (setns(2): threads that share their root
// directory cannot).
func EnterInit() error {
	runtime.LockOSThread()
	f, err := os.Open("/proc/1/ns/mnt")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNS)
}
