package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/kmod"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/tree"
)

// system is the kernel as the stages need it.
type system struct {
	loader *kmod.Loader
	// initProgram is init=, for Verify.
	initProgram string

	// mu is for what the watchdog of a stage looks at, see progress.
	mu     sync.Mutex
	disk   string // its name in sysfs
	before progress
	child  int
	signs  uint64
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

func (s *system) Verify(dir string) error {
	err := tree.At(dir).Check(s.initProgram)
	var owner *tree.OwnerError
	if errors.As(err, &owner) {
		return fmt.Errorf("%w: %w", err, nfs.ErrOwner)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if base := lookForBase(dir); base != nil {
			return base
		}
	}
	return err
}

func (s *system) Connect(ctx context.Context, network string, address netip.AddrPort) (nfs.Conn, error) {
	return connectBy(ctx, "", network, address)
}

// dialBy dials by way of one device, whatever other ways there are; an empty
// device is any.
func dialBy(ctx context.Context, device string, address netip.AddrPort) error {
	conn, err := connectBy(ctx, device, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// connectBy connects by way of one device, by tcp or udp.
func connectBy(ctx context.Context, device, network string, address netip.AddrPort) (net.Conn, error) {
	// Not DialContext, because that brings package net's resolver along.
	var d net.Dialer
	if device != "" {
		d.Control = func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) }), err)
		}
	}
	if network == "udp" {
		return d.DialUDP(ctx, network, netip.AddrPort{}, address)
	}
	return d.DialTCP(ctx, network, netip.AddrPort{}, address)
}

// testUnion proves that the union in dir can be written: in a directory that
// comes from the tree, so that copying up works too. It leaves nothing behind.
// One that an administrator has made immutable on a kept layer proves nothing
// about the others.
func testUnion(dir string) (err error) {
	for _, name := range []string{"/etc", "/usr", "/var", "/root", "/"} {
		// A link could lead out of the union.
		if info, lerr := os.Lstat(dir + name); lerr != nil || !info.IsDir() {
			continue
		}
		if err = testDir(dir + name); !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return err
}

func testDir(where string) error {
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

// nobody is the user and group that owns nothing.
const nobody = 65534

// testUsers proves that others than root can read the union. overlayfs asks
// the tree below for ACLs, and an NFSv3 mount that has none (noacl, or a server
// without NFSACL) answers with an error that only they get to see.
func testUsers(file string) error {
	err := <-panics.Go(func() error {
		// The thread takes another identity and dies with this goroutine,
		// because it is never unlocked.
		runtime.LockOSThread()
		// These calls give no errors, only the identity before (setfsuid(2)).
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, nobody, 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0)
		fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("users other than root cannot open %s: %w: drop noacl from the NFS options, or use version 4", file, err)
	}
	return nil // Any other answer is the tree's own: it may be for root only.
}
