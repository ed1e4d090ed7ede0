package qemutests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cacheDir is a folder of the cache for what is slow to make: trees, initrds.
// SIDUSBOOT_CACHE moves the cache from /var/cache/sidusboot.
func cacheDir(name string) (string, error) {
	root := os.Getenv("SIDUSBOOT_CACHE")
	if root == "" {
		root = "/var/cache/sidusboot"
	}
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cache (SIDUSBOOT_CACHE names another place): %w", err)
	}
	return dir, nil
}

// cached returns the path of kind/name in the cache, and lets build make it if
// it is not there. What build leaves at its path appears whole or not at all,
// and is made once, even when several test runs want it. A program that build
// starts should inherit held, the lock: if this process dies, no other begins
// before that program has ended.
func cached(ctx context.Context, kind, name string, build func(path string, held *os.File) error) (string, error) {
	dir, err := cacheDir(kind)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	held, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return "", err
	}
	defer held.Close()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unfinished := filepath.Join(dir, ".unfinished")
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	if err := build(unfinished, held); err != nil {
		return "", err
	}
	return path, os.Rename(unfinished, path)
}

// lock waits for an exclusive lock on a file, which is made if needed. Closing
// the file gives it back.
func lock(ctx context.Context, path string) (*os.File, error) {
	return waitLock(ctx, path, func(int) (*os.File, error) { return tryLock(path) })
}

// waitLock calls try, with the number of the attempt, until it returns a locked
// file.
func waitLock(ctx context.Context, what string, try func(attempt int) (*os.File, error)) (*os.File, error) {
	for attempt := 0; ; attempt++ {
		if f, err := try(attempt); f != nil || err != nil {
			return f, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}

// tryLock takes an exclusive lock on a file, which is made if needed. The file is
// nil where another process has the lock.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
