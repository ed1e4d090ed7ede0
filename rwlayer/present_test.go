package rwlayer

import (
	"os/exec"
	"testing"
)

func TestPresent(t *testing.T) {
	sysfs, dev, add := fakeSysfs(t)
	const size = 40 << 20
	const id = "01234567-89ab-cdef-0123-456789abcdef"
	for _, args := range [][]string{
		{"mkswap", "-q", "-L", "swap1", "-U", id, add("sda", "", size)},
		{"mkfs.vfat", "-i", "1234abcd", "-n", "EFI", add("sdb", "", size)},
		{"mkfs.ext4", "-q", "-L", "home", add("sdc", "", size)},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", args, err, out)
		}
	}
	for spec, want := range map[string]bool{
		"UUID=" + id: true, "LABEL=swap1": true, "UUID=1234-ABCD": true, "UUID=1234-abcd": true, "LABEL=EFI": true, "LABEL=home": true,
		"/dev/sda": true, "/dev/sdd": false, "LABEL=other": false, "UUID=4321-ABCD": false, "PARTUUID=1": false, "PARTLABEL=x": false, "/dev/mapper/x": false,
	} {
		t.Run(spec, func(t *testing.T) {
			if got := Present(spec, sysfs, dev); got != want {
				t.Errorf("Present(%s) = %v", spec, got)
			}
		})
	}
}
