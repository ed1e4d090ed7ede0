package nfs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/clock"
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
	// Verify tries in dir what a boot needs of the tree.
	Verify(dir string) error
	// Connect connects by network, "tcp" or "udp".
	Connect(ctx context.Context, network string, address netip.AddrPort) (Conn, error)
}

// A Mounter mounts one tree on one directory. It remembers a mount(2) that has
// not returned yet: a server that is connected but does not answer keeps it
// inside the kernel, where nothing can end it, and a second one would only
// queue behind it.
type Mounter struct {
	System System
	Logf   func(format string, args ...any)
	// Waiting is told what is waited for, again and again where a long wait is
	// as it should be. It may be nil.
	Waiting func(what string)

	pending  <-chan error
	checking <-chan error // Writable's

	// Of one Mount and the calls of NextVersion after it.
	left       []string // versions not tried yet
	wrongOwner string   // a version in which only the owners are wrong
	worst      *MountError
	// mountd is where the server said that it listens, while it was asked for
	// version 3. The kernel need not ask the portmapper again.
	mountd netip.AddrPort
	// silent are versions in which nothing came while the server answered calls
	// (mountd hangs, say). They come last from then on.
	silent []string
}

// Mount mounts src on dir and returns the version that serves it. It waits for
// a server that is not up yet until ctx ends. Errors are *MountError.
func (m *Mounter) Mount(ctx context.Context, src Source, dir string) (string, error) {
	if _, err := src.Versions(true); err != nil {
		return "", err
	}
	if err := m.awaitPending(ctx, dir); err != nil {
		return "", &MountError{Source: src, Version: src.Version, Err: err}
	}
	conn, err := m.awaitServer(ctx, src)
	if err != nil {
		return "", &MountError{Source: src, Version: src.Version, Err: err}
	}
	m.mountd = netip.AddrPort{}
	versions, _ := src.Versions(src.Version == "" && m.serves3(ctx, src, conn))
	if conn != nil {
		_ = conn.Close()
	}
	m.putSilentLast(versions)
	m.left, m.wrongOwner, m.worst = versions, "", nil
	return m.next(ctx, src, dir)
}

// NextVersion gives up the version that is mounted on dir, after something went wrong
// in use, and mounts the next one. Where there is none, that is ErrNoOtherVersion, and the
// present one stays; after another error nothing is mounted.
func (m *Mounter) NextVersion(ctx context.Context, src Source, version, dir string, why error) (string, error) {
	if len(m.left) == 0 {
		return "", ErrNoOtherVersion
	}
	if err := m.System.Unmount(dir); err != nil {
		return "", fmt.Errorf("unmount %s again: %w", dir, err)
	}
	failed := &MountError{Source: src, Version: version, Err: &unreadableError{why}}
	m.wrongOwner = "" // It was this one, or comes after it.
	m.worst = failed
	m.Logf("%v; trying version %s", failed, m.left[0])
	return m.next(ctx, src, dir)
}

// putSilentLast moves the versions in which nothing came to the end.
func (m *Mounter) putSilentLast(versions []string) {
	// A generic stable sort would be 4 kB of /init.
	var others, silent []string
	for _, v := range versions {
		if slices.Contains(m.silent, v) {
			silent = append(silent, v)
		} else {
			others = append(others, v)
		}
	}
	copy(versions, append(others, silent...))
}

// next mounts the first of the versions left whose tree passes the test.
func (m *Mounter) next(ctx context.Context, src Source, dir string) (string, error) {
	for len(m.left) > 0 {
		version := m.left[0]
		m.left = m.left[1:]
		err := m.try(ctx, src, version, dir)
		if err == nil {
			return version, nil
		}
		failed := &MountError{Source: src, Version: version, Err: err}
		if errors.Is(err, ErrOwner) && m.wrongOwner == "" {
			m.wrongOwner = version
		}
		if m.worst == nil || rank(err) > rank(m.worst.Err) {
			m.worst = failed
		}
		if errors.Is(err, unix.ETIMEDOUT) && !slices.Contains(m.silent, version) && m.answers(context.WithoutCancel(ctx), src, version) {
			m.silent = append(m.silent, version)
		}
		if ctx.Err() != nil || !otherVersionMayDo(err) {
			return "", failed
		}
		// What the minor version does not change is asked only once.
		if sameForMinors(err) {
			m.left = slices.DeleteFunc(m.left, func(v string) bool { return Module(v) == Module(version) })
		}
		if len(m.left) > 0 {
			m.Logf("%v; trying version %s", failed, m.left[0])
		}
	}
	if m.wrongOwner != "" {
		// A node that may lack sudo is better than no node.
		if err := m.mount(ctx, src, m.wrongOwner, dir); err != nil {
			return "", &MountError{Source: src, Version: m.wrongOwner, Err: err}
		}
		return m.wrongOwner, nil
	}
	if m.worst == nil {
		return "", &MountError{Source: src, Version: src.Version, Err: errors.New("no other version of NFS can be tried")}
	}
	return "", m.worst
}

// try mounts one version and accepts it when the tree in it could be used.
func (m *Mounter) try(ctx context.Context, src Source, version, dir string) error {
	if err := m.System.Load(Module(version)); err != nil {
		return fmt.Errorf("%w: %w", unix.EPROTONOSUPPORT, err)
	}
	if err := m.mount(ctx, src, version, dir); err != nil {
		return err
	}
	err := m.verify(ctx, src, version, dir)
	if err == nil {
		return nil
	}
	if err := m.System.Unmount(dir); err != nil {
		return fmt.Errorf("unmount %s again: %w", dir, err)
	}
	return &unreadableError{err}
}

const (
	// graceTime is how long a server that answers may let nothing be opened.
	// Linux's nfsd takes 90 s, nfs-ganesha up to 180.
	graceTime = 200 * time.Second
	// graceInterval is how often it is asked meanwhile whether it still answers.
	graceInterval = 5 * time.Second
)

// verify tries the tree under a deadline: a read from a server that fails
// meanwhile lasts until it comes back. A server of version 4 that has been
// restarted lets no client open a file for a while, so that its earlier clients can
// claim first what they had (RFC 8881, section 8.4.2.1): as long as it answers
// calls, that is waited for.
func (m *Mounter) verify(ctx context.Context, src Source, version, dir string) error {
	begin := time.Now()
	done := panics.Go(func() error { return m.System.Verify(dir) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	said := false
	for version != "3" && time.Since(begin) < graceTime && m.answers(context.WithoutCancel(ctx), src, version) {
		if !said {
			m.Logf("nfs: %s answers, but no file can be opened yet: waiting for the end of its NFSv4 grace period, which follows a restart of the server", src)
			said = true
		}
		m.waiting("the end of the server's grace period")
		select {
		case err := <-done:
			return err
		case <-time.After(graceInterval):
		}
	}
	return fmt.Errorf("%w: the server stopped answering while the tree was read", unix.ETIMEDOUT)
}

func (m *Mounter) waiting(what string) {
	if m.Waiting != nil {
		m.Waiting(what)
	}
}

// mount is mount(2) under a deadline.
func (m *Mounter) mount(ctx context.Context, src Source, version, dir string) error {
	if err := m.awaitPending(ctx, dir); err != nil {
		return err
	}
	done := panics.Go(func() error { return m.mountLeavingOut(src, version, dir) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		m.pending = done
		return errSilent
	}
}

// awaitPending waits for the mount(2) that an earlier attempt gave up on, and undoes
// it: it may have been of another version or path.
func (m *Mounter) awaitPending(ctx context.Context, dir string) error {
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

// Between two tries to reach the server.
const (
	dialTimeout  = 3 * time.Second
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 8 * time.Second
)

// awaitServer connects to the NFS port until somebody answers or ctx ends. A
// mount(2) of a dead server hangs in the kernel for minutes and then says
// little. The connection is nil where the transport is not TCP.
func (m *Mounter) awaitServer(ctx context.Context, src Source) (Conn, error) {
	port, err := src.Port()
	if err != nil || port == 0 {
		return nil, err
	}
	address := netip.AddrPortFrom(src.Addr, port)
	said := false
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		conn, err := m.dial(ctx, address)
		if err == nil {
			return conn, nil
		}
		if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			err = fmt.Errorf("connect to %s: %w", address, unix.ETIMEDOUT)
		}
		if !said {
			m.Logf("waiting for the NFS server: %v", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(clock.Jitter(backoff)):
		}
	}
}

// dial opens a TCP connection.
func (m *Mounter) dial(ctx context.Context, address netip.AddrPort) (Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return m.System.Connect(ctx, "tcp", address)
}
