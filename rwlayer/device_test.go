package rwlayer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeSysfs lays out /sys/class/block and /dev for disks that are files.
func fakeSysfs(t *testing.T) (sysfs, dev string, add func(disk, partition string, size int64) string) {
	root := t.TempDir()
	sysfs, dev = root+"/sys", root+"/dev"
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return sysfs, dev, func(disk, partition string, size int64) string {
		t.Helper()
		name, folder := disk, sysfs+"/devices/block/"+disk
		if partition == "" {
			write(folder+"/queue/logical_block_size", "512\n")
		} else {
			name += partition
			folder += "/" + name
			write(folder+"/partition", partition+"\n")
		}
		write(folder+"/size", fmt.Sprintf("%d\n", size/512))
		write(dev+"/"+name, "")
		if err := os.Truncate(dev+"/"+name, size); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(sysfs+"/class/block", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(folder, sysfs+"/class/block/"+name); err != nil {
			t.Fatal(err)
		}
		return dev + "/" + name
	}
}

func shell(t *testing.T, command string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", "PATH=$PATH:/usr/sbin:/sbin\n"+command)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

func TestFindDevice(t *testing.T) {
	sysfs, dev, add := fakeSysfs(t)
	const size = 8 << 20
	shell(t, "mkfs.ext4 -q -L node -U 01234567-89ab-cdef-0123-456789abcdef "+add("sda", "", size))
	gpt := add("sdb", "", size)
	shell(t, "printf 'label: gpt\\nstart=2048,size=4096,uuid=AABBCCDD-1122-3344-5566-77889900AABB\\n' | sfdisk -q "+gpt)
	add("sdb", "1", size/4)
	mbr := add("sdc", "", size)
	shell(t, "printf 'label: dos\\nlabel-id: 0xdeadbeef\\n2048,2048,L\\n4096,2048,L\\n' | sfdisk -q "+mbr)
	add("sdc", "2", size/8)
	add("loop0", "", 0)
	for spec, want := range map[string]string{
		"LABEL=node": "sda",
		"UUID=01234567-89AB-CDEF-0123-456789ABCDEF":     "sda",
		"PARTUUID=aabbccdd-1122-3344-5566-77889900aabb": "sdb1",
		"PARTUUID=deadbeef-02":                          "sdc2",
		"/dev/sdc2":                                     "sdc2",
	} {
		t.Run(spec, func(t *testing.T) {
			if got, err := Find(t.Context(), spec, sysfs, dev, nil); got != dev+"/"+want || err != nil {
				t.Errorf("Find(%s) = %q, %v, want %s", spec, got, err, want)
			}
		})
	}
	for _, spec := range []string{"LABEL=other", "LABEL=", "PARTUUID=deadbeef-03", "/dev/sdz", "/dev/loop0", "sda", ""} {
		t.Run(spec, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if got, err := Find(ctx, spec, sysfs, dev, nil); err == nil {
				t.Errorf("Find(%q) = %q, want an error", spec, got)
			}
			cancel()
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var none *NotFoundError
	if _, err := Find(ctx, "LABEL=other", sysfs, dev, nil); !errors.As(err, &none) || len(none.Have) != 5 {
		t.Errorf("Find = %v, want a NotFoundError that names five devices", err)
	}
	// A twin appears, as after dd of one disk to another.
	shell(t, "mkfs.ext4 -q -L node "+add("sdd", "", size))
	if got, err := Find(t.Context(), "LABEL=node", sysfs, dev, nil); err == nil || !strings.Contains(err.Error(), "sda and") {
		t.Errorf("Find with two that fit = %q, %v, want an error that names both", got, err)
	}
}

// Two disks with one label, of which the second spins up later: none of them is
// taken, however late its controller is done with it.
func TestFindSlowTwin(t *testing.T) {
	for name, slow := range map[string]bool{"300ms": false, "spinsUp": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sysfs, dev, add := fakeSysfs(t)
			shell(t, "mkfs.ext4 -q -L node "+add("sda", "", 8<<20))
			twin := filepath.Join(t.TempDir(), "twin")
			shell(t, "truncate -s 8M "+twin+"; mkfs.ext4 -q -L node "+twin)
			image, err := os.ReadFile(twin)
			if err != nil {
				t.Fatal(err)
			}
			device := sysfs + "/class/scsi_device/0:0:1:0/device"
			wait := 300 * time.Millisecond
			if slow {
				wait = 2500 * time.Millisecond
				shell(t, "mkdir -p "+device+"; echo 0 >"+device+"/type; mkdir -p "+sysfs+"/class/scsi_device/0:0:2:0/device; echo 5 >"+sysfs+"/class/scsi_device/0:0:2:0/device/type")
			}
			timer := time.AfterFunc(wait, func() {
				if err := os.WriteFile(dev+"/.sdb", image, 0o600); err != nil {
					t.Error(err)
				}
				path := add("sdb", "", 8<<20)
				if err := os.Rename(dev+"/.sdb", path); err != nil {
					t.Error(err)
				}
				if err := os.MkdirAll(device+"/block", 0o755); err != nil {
					t.Error(err)
				}
			})
			defer timer.Stop()
			if got, err := Find(t.Context(), "LABEL=node", sysfs, dev, nil); err == nil || !strings.Contains(err.Error(), "sda and") {
				t.Errorf("Find = %q, %v, want an error that names both", got, err)
			}
		})
	}
}

// A disk whose first superblock is an old one, below a partition table, is not
// what a label names.
func TestFindOldLabel(t *testing.T) {
	sysfs, dev, add := fakeSysfs(t)
	disk := add("sda", "", 16<<20)
	shell(t, "mkfs.ext4 -q -L node "+disk+"; echo 2048,,L | sfdisk -q -w never -W never "+disk)
	part := add("sda", "1", 15<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if got, err := Find(ctx, "LABEL=node", sysfs, dev, nil); err == nil || !strings.Contains(err.Error(), "no device LABEL=node: "+disk+": it holds a partition table") {
		t.Errorf("Find before there is a partition = %q, %v", got, err)
	}
	shell(t, "mkfs.ext4 -q -L node "+part)
	if got, err := Find(t.Context(), "LABEL=node", sysfs, dev, nil); got != part || err != nil {
		t.Errorf("Find = %q, %v, want %s", got, err, part)
	}
}

// A device that turns up later is waited for.
func TestFindDeviceLate(t *testing.T) {
	sysfs, dev, add := fakeSysfs(t)
	add("sda", "", 1<<20)
	timer := time.AfterFunc(150*time.Millisecond, func() { add("sdb", "", 1<<20) })
	defer timer.Stop()
	never := func() { t.Error("more was asked for what came by itself") }
	if got, err := Find(t.Context(), "/dev/sdb", sysfs, dev, never); got != dev+"/sdb" || err != nil {
		t.Errorf("Find = %q, %v", got, err)
	}
	// One that needs a driver which nobody has loaded so far.
	asked := 0
	if got, err := Find(t.Context(), "/dev/sdc", sysfs, dev, func() { asked++; add("sdc", "", 1<<20) }); got != dev+"/sdc" || err != nil || asked != 1 {
		t.Errorf("Find = %q, %v, asked for more %d times", got, err, asked)
	}
}
