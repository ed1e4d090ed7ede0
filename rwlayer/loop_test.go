package rwlayer

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A kernelSystem mounts loop devices with this kernel.
type kernelSystem struct{}

func (kernelSystem) Load(string) error { return nil }

func (kernelSystem) Mount(device, dir, fstype string, flags uintptr, data string) error {
	return unix.Mount(device, dir, fstype, flags, data)
}

func (kernelSystem) Unmount(dir string) error { return unix.Unmount(dir, 0) }

func (kernelSystem) SetReadOnly(device string, on bool) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	value := 0
	if on {
		value = 1
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, value)
}

func (kernelSystem) Run(_ func(string), argv ...string) (string, int, error) { return runHere(argv) }

// privately gives the test's goroutine mounts of its own, on a thread that ends
// with it. A subtest runs on another thread, where every mount is the machine's: such
// a test has none.
func privately(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("wants root")
	}
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err != nil {
		t.Skip(err)
	}
}

// loop attaches a file to a loop device until detach is called.
func loop(t *testing.T, file string) (device string, detach func()) {
	t.Helper()
	out, err := exec.Command("losetup", "-f", "--show", file).Output()
	if err != nil {
		t.Skipf("losetup: %v", err)
	}
	device = strings.TrimSpace(string(out))
	return device, func() {
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			t.Errorf("losetup -d: %v, %s", err, out)
		}
	}
}

// loopVolume makes a file system by a command (mkfs.ext4 -q) in a file and attaches
// that to a loop device until the test ends. The test has mounts of its own.
func loopVolume(t *testing.T, mkfs string) (file, device, fstype string) {
	t.Helper()
	privately(t)
	program := strings.Fields(mkfs)[0]
	if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	fstype = strings.TrimPrefix(program, "mkfs.")
	if kinds, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(kinds), "\t"+fstype+"\n") {
		t.Skipf("this kernel has no %s: %v", fstype, err)
	}
	file = filepath.Join(t.TempDir(), "disk")
	shell(t, fmt.Sprintf("truncate -s %d %s; %s %[2]s", imageSize, file, mkfs))
	device, detach := loop(t, file)
	t.Cleanup(detach)
	return file, device, fstype
}

// crashed makes a file system, lets a script use it, mounted on $M, and returns
// what a power cut leaves of it in a file.
func crashed(t *testing.T, mkfs, use string) string {
	t.Helper()
	file, device, fstype := loopVolume(t, mkfs)
	left, mnt := filepath.Join(t.TempDir(), "left"), t.TempDir()
	if err := unix.Mount(device, mnt, fstype, 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	}()
	shell(t, "cd "+mnt+"; "+strings.NewReplacer("$M", mnt).Replace(use)+"; sync -f "+device+"; cp --sparse=always "+file+" "+left)
	return left
}

// What a power cut leaves is looked into by a real kernel: who it belongs to is
// told, an empty one with something in its journal is not taken for empty, and
// not a byte of it changes.
func TestInspectContents(t *testing.T) {
	const fsync = "mkdir $M/home; echo thesis >$M/home/x; sync $M/home/x; echo y >$M/home/y; sync -d $M/home/y"
	for name, tt := range map[string]struct {
		mkfs, use string
		want      string // in the error; empty: it is this node's own
	}{
		"ext4/others":  {"mkfs.ext4 -q", "mkdir $M/home; sync", "there is home/ in it"},
		"ext4/orphan":  {"mkfs.ext4 -q", "mkdir $M/home; exec 3>$M/home/x; echo x >&3; sync; rm $M/home/x; sync; sleep 1", "there is home/ in it"},
		"ext4/ours":    {"mkfs.ext4 -q", "mkdir $M/upper $M/work; sync; sleep 1; touch $M/upper/x", ""},
		"ext4/bare":    {"mkfs.ext4 -q", "touch $M/x; sync; rm $M/x; sync", "its journal may hold files"},
		"ext4/saved":   {"mkfs.ext4 -q", "mkdir $M/lost+found/#12; sync -f $M; fsfreeze -f $M; fsfreeze -u $M", "there is lost+found/#12 in it"},
		"btrfs/hidden": {"mkfs.btrfs -q", "btrfs subvolume create home >/dev/null; btrfs subvolume create empty >/dev/null; btrfs subvolume set-default empty; sync -f $M", "there is empty/, home/ in it"},
		"xfs/others":   {"mkfs.xfs -q", "mkdir $M/home; sync; sync -f $M; fsfreeze -f $M; fsfreeze -u $M; touch $M/home/y; sync $M/home/y", "there is home/ in it"},
		"xfs/bare":     {"mkfs.xfs -q", fsync, ""},
		"btrfs/others": {"mkfs.btrfs -q", "mkdir $M/home; sync -f $M; echo x >$M/home/x; sync $M/home/x", "there is home/ in it"},
		"btrfs/bare":   {"mkfs.btrfs -q", "sync -f $M; echo x >$M/x; sync $M/x", "its journal may hold files"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "xfs/bare" {
				tt.want = " " // Either way it is not taken: by its name, or by its log.
			}
			file := crashed(t, tt.mkfs, tt.use)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			device, detach := loop(t, file)
			err = inspectContents(kernelSystem{}, device, Volume{Type: strings.Split(name, "/")[0]}, VolumeOptions{Name: "it", InspectDir: t.TempDir()})
			detach()
			t.Logf("%v", err)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			after, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(before, after) {
				t.Error("it was written to")
			}
		})
	}
}

// An empty file system that a node has taken, and one that the operator has given
// to it, are known at the next boot, however early the power was cut.
func TestMountMarks(t *testing.T) {
	for _, mkfs := range []string{"mkfs.ext4 -q", "mkfs.xfs -q", "mkfs.btrfs -q", "mkfs.ext4 -q -L adopted", "mkfs.btrfs -q -L adopted"} {
		t.Run(mkfs, func(t *testing.T) {
			file, device, fstype := loopVolume(t, mkfs)
			left, mnt := filepath.Join(t.TempDir(), "left"), t.TempDir()
			o := VolumeOptions{Label: "sidusboot", InspectDir: t.TempDir()}
			if strings.Contains(mkfs, "adopted") {
				if err := unix.Mount(device, mnt, fstype, 0, ""); err != nil {
					t.Fatal(err)
				}
				shell(t, "mkdir "+mnt+"/home; umount "+mnt)
				o.Adopt = []string{"adopted"}
			}
			v, made, err := Mount(kernelSystem{}, device, mnt, o)
			if err != nil || made {
				t.Fatalf("made %v, %v", made, err)
			}
			shell(t, "cp --sparse=always "+file+" "+left)
			if err := unix.Unmount(mnt, 0); err != nil {
				t.Fatal(err)
			}
			cut, detachCut := loop(t, left)
			defer detachCut()
			if err := inspectContents(kernelSystem{}, cut, v, o); err != nil {
				t.Errorf("after the power cut: %v", err)
			}
		})
	}
}
