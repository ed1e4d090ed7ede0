package iscsi_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/iscsi/iscsitest"
)

func TestDisk(t *testing.T) {
	k, root := newKernel(t)
	in := node()
	in.LUN = 1
	in.Portals = []iscsi.Portal{serve(t, &iscsitest.Target{})}
	s, err := k.Connect(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	scan := filepath.Join(root, "sys/class/scsi_host/host2/scan")
	write(t, "", scan)
	luns := filepath.Join(root, "sys/class/iscsi_session/session5/device/target2:0:0")
	write(t, "running", luns, "2:0:0:11/state")
	if _, err := s.Disk(t.Context()); !errors.Is(err, iscsi.ErrNoLUN) {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(scan); string(text) != "0 0 1" {
		t.Errorf("scan: %q", text)
	}

	device := filepath.Join(luns, "2:0:0:1")
	write(t, "blocked\n", device, "state")
	write(t, "0\n", device, "block/sdq/size")
	write(t, "", device, "timeout")
	waits := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := s.Disk(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want a wait for %s", err, what)
		}
	}
	waits("its state is blocked")
	write(t, "running\n", device, "state")
	waits("the size of sdq")
	write(t, "2048\n", device, "block/sdq/size")
	waits("/dev/sdq")
	write(t, "", root, "dev/sdq")
	disk, err := s.Disk(t.Context())
	if want := (iscsi.Disk{Name: "sdq", Path: "/dev/sdq", Bytes: 1 << 20}); err != nil || disk != want {
		t.Errorf("got %+v, %v", disk, err)
	}
	if text, _ := os.ReadFile(filepath.Join(device, "timeout")); string(text) != "60" {
		t.Errorf("timeout: %q", text)
	}
}
