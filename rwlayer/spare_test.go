package rwlayer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func spareFiles(dir string) (files int, size int64) {
	entries, _ := os.ReadDir(filepath.Join(dir, spareDir))
	info, err := os.Stat(filepath.Join(dir, spareDir, spareFile))
	if err != nil {
		return len(entries), -1
	}
	return len(entries), info.Size()
}

// The spare of a file system with free space; TestFullVolume has one without.
func TestSpare(t *testing.T) {
	dir := t.TempDir()
	u := Usage{Bytes: 64 << 20, Inodes: 1 << 16, FreeInodes: 1 << 15}
	for range 2 { // The second time there is nothing to do.
		if err := makeSpare(dir, u); err != nil {
			t.Fatal(err)
		}
		if files, size := spareFiles(dir); files != 1+spareInodes || size != 2<<20 {
			t.Errorf("%d files, %d bytes, want %d and 2 MiB", files, size, 1+spareInodes)
		}
	}
	if !hasRoom(dir, 1<<20) {
		t.Error("no space for a MiB")
	}
	if err := os.WriteFile(filepath.Join(dir, spareDir, "somebody's"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := freeSpare(dir); err != nil {
			t.Error(err)
		}
		if files, size := spareFiles(dir); files != 1 || size != -1 {
			t.Errorf("spent: %d files, %d bytes, want only what is not ours", files, size)
		}
	}
	u.FreeInodes = 60
	if err := makeSpare(dir, u); err != nil {
		t.Fatal(err)
	}
	if files, _ := spareFiles(dir); files != 1+1+30 {
		t.Errorf("of 60 inodes: %d files", files)
	}
	u = Usage{Bytes: 1 << 30, Inodes: 1 << 16, FreeInodes: 1 << 15}
	if err := makeSpare(dir, u); err != nil {
		t.Fatal(err)
	}
	if files, size := spareFiles(dir); files != 2+spareInodes || size != spareBytes {
		t.Errorf("with space again: %d files, %d bytes", files, size)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// A link in the spare's place is not followed.
func TestSpareLink(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, spareDir)); err != nil {
		t.Fatal(err)
	}
	if err := freeSpare(dir); err != nil {
		t.Error(err)
	}
	if err := makeSpare(dir, Usage{Bytes: 1 << 30, Inodes: 1 << 16, FreeInodes: 1 << 15}); err == nil {
		t.Error("no error")
	}
	if entries, _ := os.ReadDir(other); len(entries) != 1 {
		t.Errorf("behind the link: %v", entries)
	}
}

func TestInodeShare(t *testing.T) {
	for free, want := range map[uint64]int{1 << 20: 128, 256: 128, 100: 50, 33: 16, 32: 28, 8: 7, 1: 1, 0: 0} {
		t.Run(fmt.Sprint(free), func(t *testing.T) {
			if got := inodeShare(free); got != want {
				t.Errorf("inodeShare(%d) = %d, want %d", free, got, want)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	full := Usage{Bytes: 1 << 30, Used: 1000 << 20, Inodes: 65536, FreeInodes: 7}
	if got := full.String(); got != "100 % of 1024 MiB used, 7 of 65536 inodes free" {
		t.Error(got)
	}
	if got := (Usage{}).String(); got != "0 % of 0 MiB used" {
		t.Error(got)
	}
	for _, tt := range []struct {
		u    Usage
		want bool
	}{
		{Usage{Bytes: 1 << 30, Avail: 9 << 20, Inodes: 1, FreeInodes: 200}, false},
		{Usage{Bytes: 1 << 30, Avail: 7 << 20, Inodes: 1, FreeInodes: 200}, true},
		{Usage{Bytes: 1 << 30, Avail: 1 << 29, Inodes: 1000, FreeInodes: 20}, true},
		{Usage{Bytes: 1 << 30, Avail: 1 << 29}, false},
		{Usage{Bytes: 64 << 20, Avail: 7 << 20}, false},
	} {
		t.Run(fmt.Sprint(tt.u), func(t *testing.T) {
			if got := tt.u.Full(); got != tt.want {
				t.Errorf("%+v: Full = %v", tt.u, got)
			}
		})
	}
}
