package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/kmod"
	"github.com/sidusboot/sidusboot/overlay"
)

const openNoCTTY = unix.O_NOCTTY

// system is the kernel as the stages need it.
type system struct {
	loader *kmod.Loader
	// initProgram is init=, for Verify.
	initProgram string
}

func (s *system) Load(module string) error { return s.loader.Load(module) }

func (s *system) Has(fstype string) (bool, error) {
	return overlay.Has("/proc/filesystems", fstype)
}

func (s *system) Mount(device, dir, fstype string, flags uintptr, data string) error {
	return unix.Mount(device, dir, fstype, flags, data)
}

func (s *system) Unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }

func (s *system) Verify(dir string) error { return readInit(dir, s.initProgram) }

func (s *system) Dial(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// unmountAll takes away whatever is mounted on the directories, topmost first.
func unmountAll(dirs ...string) error {
	for _, dir := range dirs {
		for {
			err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if errors.Is(err, unix.EINVAL) { // Nothing is mounted there.
				break
			}
			if err != nil {
				return fmt.Errorf("unmount %s: %w", dir, err)
			}
		}
	}
	return nil
}

// testUnion proves that the union in dir can be written: in a directory that
// comes from the tree, so that copying up works too. It leaves nothing behind.
func testUnion(dir string) error {
	where := dir
	if info, err := os.Stat(dir + "/etc"); err == nil && info.IsDir() {
		where += "/etc"
	}
	test, err := os.MkdirTemp(where, ".sidusboot-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(test)
	const want = "sidusboot"
	if err := os.WriteFile(test+"/a", []byte(want), 0o600); err != nil {
		return err
	}
	if err := os.Rename(test+"/a", test+"/b"); err != nil {
		return err
	}
	got, err := os.ReadFile(test + "/b")
	if err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("wrote %q, read %q", want, got)
	}
	return os.RemoveAll(test)
}
