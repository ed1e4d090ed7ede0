package rwlayer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseOwner(t *testing.T) {
	w := owner{0x12ab, "LUN 3 of iqn.2013-09.org.sidusboot:10.0.0.7"}
	if got, ok := parseOwner(w.String()); !ok || got != w {
		t.Errorf("%q: %+v, %v", w, got, ok)
	}
	for _, text := range []string{
		"", "\x00\x00", ownerHead, ownerHead + "\n\n", ownerHead + "0x0\nhere\n", ownerHead + "0x12\n\n", ownerHead + "0x12\nhere",
		ownerHead + "0x12", ownerHead + "twelve\nhere\n", "sidusboot volume 2\n0x12\nhere\n", ownerHead + "0x12345678123456781\nhere\n",
	} {
		t.Run(text, func(t *testing.T) {
			if got, ok := parseOwner(text); ok {
				t.Errorf("%q is %+v", text, got)
			}
		})
	}
}

// A volume says whose it is. Another node's that was given back is refused where
// the target has mixed up its volumes, and not a byte of it changes; a LUN with
// another number and a new mainboard go on.
func TestOwner(t *testing.T) {
	for _, mkfs := range []string{"mkfs.ext4 -q -L sidusboot", "mkfs.ext4 -q -L other", "mkfs.xfs -q", "mkfs.btrfs -q"} {
		t.Run(mkfs, func(t *testing.T) {
			const a, b, c = Key(0xa), Key(0xb), Key(0xc)
			file, device, fstype := loopVolume(t, mkfs)
			left, mnt := filepath.Join(t.TempDir(), "left"), t.TempDir()

			said := ""
			o := VolumeOptions{Label: "sidusboot", InspectDir: t.TempDir(), Logf: func(format string, args ...any) {
				said += fmt.Sprintf(format, args...) + "\n"
			}}
			id := ""
			for _, step := range []struct {
				what     string
				key      Key
				place    string
				takeover Key
				adopt    bool
				before   string // a script, in the volume
				refused  bool
				says     string
			}{
				{what: "the first", key: a, place: "LUN 1"},
				{what: "again", key: a, place: "LUN 1"},
				{what: "another number", key: a, place: "LUN 2"},
				{what: "a new mainboard", key: b, place: "LUN 2", says: "belonged to another machine until now, with key 0x000000000000000a, as LUN 2"},
				{what: "the old one", key: a, place: "LUN 1", refused: true},
				{what: "another's", key: c, place: "LUN 3", refused: true},
				{what: "another's, adopted", key: c, place: "LUN 3", adopt: true, says: "belonged to another machine"},
				{what: "adopted before", key: c, place: "LUN 4"},
				{what: "no longer", key: b, place: "LUN 2", refused: true},
				{what: "taken over", key: b, place: "LUN 2", takeover: c, says: "belonged to another machine"},
				{what: "a damaged record", key: c, place: "LUN 5", before: "head -c 3000 /dev/zero >.sidusboot-owner"},
				{what: "kept", key: a, place: "LUN 9", refused: true},
				{what: "a link in its place", key: a, place: "LUN 9", before: "rm .sidusboot-owner; ln -s upper/there .sidusboot-owner; echo safe >upper/there; ln -s upper/there .sidusboot-owner-new"},
				{what: "a FIFO in its place", key: b, place: "LUN 9", before: "grep -q safe upper/there; test -f .sidusboot-owner; rm .sidusboot-owner; mkfifo .sidusboot-owner"},
				{what: "a directory in its place", key: b, place: "LUN 9", before: "test -f .sidusboot-owner; rm .sidusboot-owner; mkdir .sidusboot-owner", says: "save its owner"},
			} {
				if step.before != "" {
					if err := unix.Mount(device, mnt, fstype, 0, ""); err != nil {
						t.Fatal(err)
					}
					shell(t, "cd "+mnt+"; "+step.before)
					if err := unix.Unmount(mnt, 0); err != nil {
						t.Fatal(err)
					}
				}
				before, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				o.Reserve, o.Place, o.Takeover, o.Adopt, said = step.key, step.place, step.takeover, nil, ""
				if step.adopt {
					o.Adopt = []string{id}
				}
				v, _, err := Mount(kernelSystem{}, device, mnt, o)
				id = v.UUID
				var foreign *OwnerError
				var others *UnknownOwnerError
				if step.refused {
					if !errors.As(err, &foreign) || !errors.As(err, &others) || foreign.Own != step.key {
						t.Errorf("%s: %v, want it refused", step.what, err)
					}
					t.Logf("%s: %v", step.what, err)
					if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
						t.Errorf("%s: it was written to, %v", step.what, err)
					}
				} else if err != nil {
					t.Fatalf("%s: %v", step.what, err)
				}
				said = strings.ReplaceAll(said, ErrNoReservations.Error(), "")
				if another := strings.Contains(said, "another") || strings.Contains(said, "save its owner"); another != (step.says != "") || !strings.Contains(said, step.says) {
					t.Errorf("%s: it said %q, want %q", step.what, said, step.says)
				}
				if err != nil {
					continue
				}
				if step.adopt {
					shell(t, "cp --sparse=always "+file+" "+left)
				}
				if err := unix.Unmount(mnt, 0); err != nil {
					t.Fatal(err)
				}
				if step.adopt { // The power is cut: the next boot does not ask again.
					cut, detachCut := loop(t, left)
					if err := inspectContents(kernelSystem{}, cut, v, VolumeOptions{Reserve: step.key, Place: "LUN 7", Label: o.Label, InspectDir: o.InspectDir}); err != nil {
						t.Errorf("after a power cut: %v", err)
					}
					detachCut()
				}
			}
		})
	}
}

// A volume that cannot be looked into is checked by its label, as it was before.
func TestOwnerOfDamaged(t *testing.T) {
	privately(t)
	file := filepath.Join(t.TempDir(), "disk")
	shell(t, "truncate -s 16M "+file+"; mkfs.ext4 -q -L sidusboot "+file+"; debugfs -w -R 'clri <2>' "+file+"; debugfs -w -R 'ssv state 0' "+file)
	device, detach := loop(t, file)
	defer detach()
	_, _, err := Mount(kernelSystem{}, device, t.TempDir(), VolumeOptions{
		Reserve: 1, Place: "LUN 1", Label: "sidusboot", InspectDir: t.TempDir(), Logf: t.Logf,
	})
	var check *CheckError
	if !errors.As(err, &check) {
		t.Errorf("%v, want what the check says", err)
	}
}
