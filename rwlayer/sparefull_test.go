package rwlayer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSpareFull fills a file system to the last byte and inode between boots, of
// which none frees anything: there is always enough for the next one.
func TestSpareFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts")
	}
	dir := t.TempDir()
	done := make(chan error)
	go func() {
		// The thread, which is never unlocked, has a mount namespace of its own and
		// ends with it.
		runtime.LockOSThread()
		done <- fillAndBoot(dir)
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func fillAndBoot(dir string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=40m,nr_inodes=1000"); err != nil {
		return err
	}
	if err := MakeSpare(dir); err != nil {
		return err
	}
	for boot := range 30 {
		if err := fillUp(dir, boot); err != nil {
			return err
		}
		_, spent, err := FreeSpare(dir)
		if err != nil || !spent {
			return fmt.Errorf("boot %d of a full file system: spent %v, %w", boot, spent, err)
		}
		// What the union and /init write.
		for i := range 8 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("init", i)), make([]byte, 32<<10), 0o600); err != nil {
				return fmt.Errorf("boot %d: %w", boot, err)
			}
			if i > 0 { // All but one are gone again.
				if err := os.Remove(filepath.Join(dir, fmt.Sprint("init", i))); err != nil {
					return err
				}
			}
		}
		if err := MakeSpare(dir); err != nil {
			return fmt.Errorf("boot %d: %w", boot, err)
		}
	}
	return nil
}

// fillUp takes every inode and every byte.
func fillUp(dir string, boot int) error {
	f, err := os.OpenFile(filepath.Join(dir, "fill"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := 0; err == nil; i++ {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("inode%d.%d", boot, i)), nil, 0o600)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	zero, err := os.Open("/dev/zero")
	if err != nil {
		return err
	}
	defer zero.Close()
	if _, err := io.Copy(struct{ io.Writer }{f}, zero); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill: %w", err)
	}
	return nil
}
