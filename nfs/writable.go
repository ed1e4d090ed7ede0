package nfs

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// Writable tells whether the server would let this node write to src: it asks
// by access(2) on a second mount at dir, and writes nothing. The read-only
// mount cannot be asked, as the kernel answers for it. When ctx ends before the
// server answers, that is an error, and the mount is undone when it can be.
func (m *Mounter) Writable(ctx context.Context, src Source, version, dir string) (bool, error) {
	failed := func(err error) (bool, error) {
		return false, &MountError{Source: src, Version: version, Err: fmt.Errorf("to see whether it is writable: %w", err)}
	}
	if m.checking != nil {
		select {
		case <-m.checking:
			m.checking = nil
		case <-ctx.Done():
			return failed(errSilent)
		}
	}
	writable := false
	done := panics.Go(func() (err error) {
		writable, err = m.writable(src, version, dir)
		return err
	})
	select {
	case err := <-done:
		if err != nil {
			return failed(err)
		}
		return writable, nil
	case <-ctx.Done():
		m.checking = done
		return failed(errSilent)
	}
}

func (m *Mounter) writable(src Source, version, dir string) (bool, error) {
	if err := m.System.Mount(src.device(), dir, "nfs", unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOSUID, m.data(src, version)); err != nil {
		return false, err
	}
	err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS)
	// The caller may have cleaned up before a late answer.
	if err := m.System.Unmount(dir); err != nil && !errors.Is(err, unix.EINVAL) {
		return false, fmt.Errorf("unmount %s: %w", dir, err)
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return false, nil
	}
	return false, err
}
