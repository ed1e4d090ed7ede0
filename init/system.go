package main

import (
	"context"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/chroot"
	"github.com/sidusboot/sidusboot/kmod"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/socket"
	"github.com/sidusboot/sidusboot/source"
	"github.com/sidusboot/sidusboot/watchdog"
)

// system is the kernel as the stages need it.
type system struct {
	loader *kmod.Loader
	// initProgram is init=, for Verify.
	initProgram string

	// meter is told of the programs that run for a stage.
	meter *watchdog.Meter
}

func (s *system) Load(module string) error { return s.loader.Load(module) }

func (s *system) Has(fstype string) (bool, error) {
	return overlay.Has("/proc/filesystems", fstype)
}

func (s *system) Mount(device, dir, fstype string, flags uintptr, data string) error {
	return unix.Mount(device, dir, fstype, flags, data)
}

func (s *system) Unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }

func (s *system) SetReadOnly(device string, on bool) error {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	value := 0
	if on {
		value = 1
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, value)
}

// Run runs a program of the tree and makes its work the stage's progress.
func (s *system) Run(onLine func(line string), argv ...string) (output string, status int, err error) {
	return chroot.Run(roDir, chroot.Options{OnLine: onLine, LineFD: rwlayer.ProgressFD, Running: s.meter.UseProgram}, argv...)
}

func (s *system) Verify(dir string) error { return source.Verify(dir, s.initProgram) }

func (s *system) Connect(ctx context.Context, transport string, address netip.AddrPort) (nfs.Conn, error) {
	return socket.Dialer{}.Dial(ctx, transport, address)
}
