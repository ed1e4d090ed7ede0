package iscsi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Disk is the block device of one LUN.
type Disk struct {
	Name  string // sda
	Path  string // /dev/sda
	Bytes uint64
}

// Disk scans for the session's LUN and waits until its block device can be
// used. That the target has no such LUN is ErrNoLUN.
func (s *Session) Disk(ctx context.Context) (Disk, error) {
	disk, err := s.disk(ctx)
	if err != nil {
		return Disk{}, fmt.Errorf("iscsi: LUN %d of %s: %w", s.target.LUN, s.target.Name, err)
	}
	return disk, nil
}

func (s *Session) disk(ctx context.Context) (Disk, error) {
	// Channel, target, LUN. One LUN only: another node's must not show up here.
	// The kernel scans before it returns (iscsi_user_scan).
	scan := filepath.Join(s.kernel.root, "sys/class/scsi_host", "host"+strconv.Itoa(int(s.id.Host)), "scan")
	if err := os.WriteFile(scan, fmt.Appendf(nil, "0 0 %d", s.target.LUN), 0); err != nil {
		return Disk{}, err
	}
	device, err := s.device(ctx)
	if err != nil {
		return Disk{}, err
	}
	timeout := filepath.Join(device, "timeout")
	if err := os.WriteFile(timeout, []byte(seconds(s.target.Timeouts.Command)), 0); err != nil {
		return Disk{}, err
	}
	var disk Disk
	var missing string
	err = poll(ctx, 10*time.Millisecond, func() bool {
		disk, missing = s.look(device)
		return missing == ""
	})
	if err != nil {
		return Disk{}, fmt.Errorf("waiting for %s: %w", missing, err)
	}
	return disk, nil
}

// device is the LUN's directory in sysfs, H:C:T:L.
func (s *Session) device(ctx context.Context) (string, error) {
	suffix := ":" + strconv.FormatUint(s.target.LUN, 10)
	// sysfs is complete when the scan is; the second is for kernels that think
	// otherwise.
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var found string
	err := poll(ctx, 20*time.Millisecond, func() bool {
		for _, target := range list(filepath.Join(s.sysfs(), "device"), "target") {
			for _, lun := range list(target, "") {
				if name := filepath.Base(lun); strings.Count(name, ":") == 3 && strings.HasSuffix(name, suffix) {
					found = lun
				}
			}
		}
		return found != ""
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("%w for this initiator: check the target's list of LUNs", ErrNoLUN)
	}
	return found, err
}

// look returns the disk, or what is still missing.
func (s *Session) look(device string) (disk Disk, missing string) {
	if state := read(device, "state"); state != "running" {
		return Disk{}, "the device to be running, its state is " + state
	}
	blocks := list(filepath.Join(device, "block"), "")
	if len(blocks) == 0 {
		return Disk{}, "the block device: is the module sd_mod loaded?"
	}
	name := filepath.Base(blocks[0])
	sectors, err := strconv.ParseUint(read(blocks[0], "size"), 10, 64)
	if err != nil || sectors == 0 {
		return Disk{}, "the size of " + name
	}
	// The node is there before the disk can be opened (device_add_disk).
	f, err := os.Open(filepath.Join(s.kernel.root, "dev", name))
	if err != nil {
		return Disk{}, "/dev/" + name
	}
	f.Close()
	return Disk{Name: name, Path: "/dev/" + name, Bytes: sectors * 512}, ""
}

// list returns the paths of a directory's entries with a prefix.
func list(dir, prefix string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths
}

func read(dir, name string) string {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// poll asks until it is done or ctx ends.
func poll(ctx context.Context, every time.Duration, done func() bool) error {
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
	return nil
}
