package rwlayer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What a power cut leaves of a volume whose upper directory is being reset or
// archived is whole, on each file system: a new upper directory that knows its tree,
// and the old one under the other name.
func TestMatchLowerPowerCut(t *testing.T) {
	for _, mkfs := range []string{"mkfs.ext4 -q", "mkfs.xfs -q", "mkfs.btrfs -q"} {
		t.Run(mkfs, func(t *testing.T) {
			file, device, fstype := loopVolume(t, mkfs)
			left, mnt := filepath.Join(t.TempDir(), "left"), t.TempDir()
			if err := unix.Mount(device, mnt, fstype, 0, ""); err != nil {
				t.Fatal(err)
			}
			if err := makeDirs(mnt); err != nil {
				t.Fatal(err)
			}
			upper := filepath.Join(mnt, Upper)
			if err := writeRecord(upper, record{}, record{"a", ""}); err != nil {
				t.Fatal(err)
			}
			shell(t, fmt.Sprintf("echo thesis >%s/mine; sync -f %s", upper, mnt))
			aside, err := exchangeUpper(mnt, resetPrefix, record{"b", "1"})
			if err != nil {
				t.Fatal(err)
			}
			shell(t, "cp --sparse=always "+file+" "+left) // Nothing is synced for that.
			if err := unix.Unmount(mnt, 0); err != nil {
				t.Fatal(err)
			}
			cut, detach := loop(t, left)
			defer detach()
			if err := unix.Mount(cut, mnt, fstype, 0, ""); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := unix.Unmount(mnt, 0); err != nil {
					t.Error(err)
				}
			}()
			if r, err := readRecord(upper); r != (record{"b", "1"}) || err != nil {
				t.Errorf("the upper directory says %+v, %v", r, err)
			}
			if empty, err := isEmpty(upper); !empty || err != nil {
				t.Errorf("the upper directory is empty: %v, %v", empty, err)
			}
			if text, err := os.ReadFile(filepath.Join(mnt, aside, "mine")); string(text) != "thesis\n" {
				t.Errorf("the old file is %q, %v", text, err)
			}
			if r, err := readRecord(filepath.Join(mnt, aside)); r.tree != "a" || err != nil {
				t.Errorf("the old directory says %+v, %v", r, err)
			}
			// The next boot ends what was begun.
			m, err := MatchLower(mnt, LowerOptions{Tree: "b", Policy: MismatchStop, Reset: "1"})
			if m != (LowerMatch{}) || err != nil {
				t.Errorf("MatchLower = %+v, %v", m, err)
			}
			if _, err := os.Lstat(filepath.Join(mnt, aside)); !os.IsNotExist(err) {
				t.Errorf("%s is still there: %v", aside, err)
			}
		})
	}
}
