package qemutests

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed mkpeer
var mkpeer string

// PeerInitrd is an initrd by the tree's own initramfs-tools, with a tmpfs
// stacked over the NFS root in shell. It is what our image is compared with.
// Boot it with PeerParams. It is kept in the cache.
func PeerInitrd(ctx context.Context, tree string) (path string, err error) {
	dir, err := cached(ctx, "peers", filepath.Base(tree)+"-"+digest(mkpeer, tree), func(dir string, held *os.File) error {
		return runScript(ctx, held, mkpeer, tree, dir)
	})
	if err != nil {
		return "", fmt.Errorf("peer initrd: %w", err)
	}
	return filepath.Join(dir, peerFile), nil
}

const peerFile = "initrd.img"

// MakePeerInitrd makes a PeerInitrd in dir, outside the cache, and tells how
// long mkinitramfs took.
func MakePeerInitrd(ctx context.Context, tree, dir string) (path string, took time.Duration, err error) {
	if err := runScript(ctx, nil, mkpeer, tree, dir); err != nil {
		return "", 0, fmt.Errorf("peer initrd: %w", err)
	}
	if took, err = ReadSeconds(filepath.Join(dir, "seconds")); err != nil {
		return "", 0, fmt.Errorf("peer initrd: %w", err)
	}
	return filepath.Join(dir, peerFile), took, nil
}

// ReadSeconds reads a file that has a number of seconds in it.
func ReadSeconds(file string) (time.Duration, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// PeerParams are the kernel command line for a PeerInitrd with its root in the
// lab.
func PeerParams(tree string) string {
	return "root=/dev/nfs nfsroot=" + ServerAddr + ":" + tree + ",vers=3 ip=dhcp"
}
