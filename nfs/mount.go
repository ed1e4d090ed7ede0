package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// A System is what mounting needs from its surroundings.
type System interface {
	// Mount is mount(2).
	Mount(device, dir, fstype string, flags uintptr, data string) error
	// Unmount is umount2(2) with MNT_DETACH.
	Unmount(dir string) error
	// Load loads a kernel module.
	Load(module string) error
	// Verify reads the tree's init program in dir to its end.
	Verify(dir string) error
	// Dial opens and closes a TCP connection.
	Dial(ctx context.Context, address netip.AddrPort) error
}

// A Mounter mounts one tree on one directory. It remembers a mount(2) that has
// not returned yet: a server that is connected but does not answer keeps it
// inside the kernel, where nothing can end it, and a second one would only
// queue behind it.
type Mounter struct {
	System System
	Logf   func(format string, args ...any)

	pending <-chan error
}

// Mount mounts src on dir and returns the version that serves it. It waits for
// a server that is not up yet until ctx ends. Errors are *MountError.
func (m *Mounter) Mount(ctx context.Context, src Source, dir string) (string, error) {
	versions, err := src.Versions()
	if err != nil {
		return "", err
	}
	if err := m.settle(ctx, dir); err != nil {
		return "", &MountError{Source: src, Version: src.Version, Err: err}
	}
	if err := m.awaitServer(ctx, src); err != nil {
		return "", &MountError{Source: src, Version: src.Version, Err: err}
	}
	var worst *MountError
	var foreign string // A version with which all is well but the owners.
	for i := 0; i < len(versions); i++ {
		version := versions[i]
		err := m.try(ctx, src, version, dir)
		if err == nil {
			return version, nil
		}
		failed := &MountError{Source: src, Version: version, Err: err}
		if errors.Is(err, ErrOwner) && foreign == "" {
			foreign = version
		}
		if worst == nil || rank(err) > rank(worst.Err) {
			worst = failed
		}
		if !lower(err) {
			return "", failed
		}
		// What the minor version does not change is asked only once.
		if refused(err) {
			for i+1 < len(versions) && Module(versions[i+1]) == Module(version) {
				i++
			}
		}
		if i+1 < len(versions) {
			m.Logf("%v; trying version %s", failed, versions[i+1])
		}
	}
	if foreign != "" {
		// A node that may lack sudo is better than no node.
		if err := m.mount(ctx, src, foreign, dir); err != nil {
			return "", &MountError{Source: src, Version: foreign, Err: err}
		}
		m.Logf("%v", &MountError{Source: src, Version: foreign, Err: ErrOwner})
		return foreign, nil
	}
	return "", worst
}

// try mounts one version and believes it when the init program could be read.
func (m *Mounter) try(ctx context.Context, src Source, version, dir string) error {
	if err := m.System.Load(Module(version)); err != nil {
		return fmt.Errorf("%w: %w", unix.EPROTONOSUPPORT, err)
	}
	if err := m.mount(ctx, src, version, dir); err != nil {
		return err
	}
	err := m.verify(ctx, dir)
	if err == nil {
		return nil
	}
	if err := m.System.Unmount(dir); err != nil {
		return fmt.Errorf("unmount %s again: %w", dir, err)
	}
	return &unreadableError{err}
}

// verify reads the init program under a deadline: a read from a server that
// dies meanwhile lasts until it comes back.
func (m *Mounter) verify(ctx context.Context, dir string) error {
	done := panics.Go(func() error { return m.System.Verify(dir) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: the server stopped answering while the init program was read", unix.ETIMEDOUT)
	}
}

// mount is mount(2) under a deadline.
func (m *Mounter) mount(ctx context.Context, src Source, version, dir string) error {
	done := panics.Go(func() error {
		return m.System.Mount(src.device(), dir, "nfs", unix.MS_RDONLY|unix.MS_NODEV, src.Data(version))
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		m.pending = done
		return errSilent
	}
}

// settle waits for the mount(2) that an earlier attempt gave up on, and undoes
// it: it may have been of another version or path.
func (m *Mounter) settle(ctx context.Context, dir string) error {
	if m.pending == nil {
		return nil
	}
	select {
	case err := <-m.pending:
		m.pending = nil
		if err != nil {
			return nil
		}
		// It may have come before the caller cleaned up, and be gone by now.
		if err := m.System.Unmount(dir); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
		return nil
	case <-ctx.Done():
		return errSilent
	}
}

// errSilent is a server that is connected and says nothing.
var errSilent = fmt.Errorf("%w: the server takes connections but does not answer the mount call", unix.ETIMEDOUT)

// An unreadableError is a tree that was mounted and whose init program could
// not be read.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string { return "mounted, but " + e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// lower tells whether a lower version may do better.
func lower(err error) bool {
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		// A file that is not there is not there in any version, nor is a
		// program for another machine.
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOEXEC) && !errors.Is(err, unix.ETIMEDOUT)
	}
	return refused(err) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIO)
}

// refused tells whether the server answered with a no, or with owners, that are
// the same for all minor versions.
func refused(err error) bool {
	return errors.Is(err, ErrOwner) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT)
}

// rank orders errors by how much they tell an operator.
func rank(err error) int {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return 3
	case errors.Is(err, unix.ENOENT):
		return 2
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return 0
	}
	return 1
}

// Between two tries to reach the server.
const (
	dialTimeout  = 3 * time.Second
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 8 * time.Second
)

// awaitServer connects to the NFS port until somebody answers or ctx ends. A
// mount(2) of a dead server hangs in the kernel for minutes and then says
// little.
func (m *Mounter) awaitServer(ctx context.Context, src Source) error {
	port, err := src.Port()
	if err != nil || port == 0 {
		return err
	}
	address := netip.AddrPortFrom(src.Addr, port)
	said := false
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		dial, cancel := context.WithTimeout(ctx, dialTimeout)
		err := m.System.Dial(dial, address)
		cancel()
		if err == nil {
			return nil
		}
		if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			err = fmt.Errorf("connect to %s: %w", address, unix.ETIMEDOUT)
		}
		if !said {
			m.Logf("waiting for the NFS server: %v", err)
			said = true
		}
		// A whole room starts at once: spread the load.
		wait := backoff/2 + rand.N(backoff)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// Writable tells whether the server would let this node write to src: it asks
// by access(2) on a second mount at dir, and writes nothing. The read-only
// mount cannot be asked, as the kernel answers for it.
func (m *Mounter) Writable(src Source, version, dir string) (bool, error) {
	if err := m.System.Mount(src.device(), dir, "nfs", unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOSUID, src.Data(version)); err != nil {
		return false, &MountError{Source: src, Version: version, Err: fmt.Errorf("to see whether it is writable: %w", err)}
	}
	err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS)
	if err := m.System.Unmount(dir); err != nil {
		return false, fmt.Errorf("unmount %s: %w", dir, err)
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return false, nil
	}
	return false, fmt.Errorf("ask whether %s is writable: %w", src.device(), err)
}
