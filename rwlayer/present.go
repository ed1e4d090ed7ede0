package rwlayer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Present tells whether there is a block device of that name now: LABEL=, UUID=,
// PARTUUID= or a path in /dev. Of file systems that become no /rw it knows swap
// space and FAT. sysfs and dev are /sys and /dev.
func Present(spec, sysfs, dev string) bool {
	if name, ok := strings.CutPrefix(spec, "/dev/"); ok {
		_, err := os.Stat(filepath.Join(dev, name))
		return err == nil
	}
	fits, err := matcher(spec)
	if err != nil {
		return false
	}
	key, value, _ := strings.Cut(spec, "=")
	_, found, _ := search(sysfs, dev, func(c candidate) (bool, error) {
		if ok, _ := fits(c); ok {
			return true, nil
		}
		v, err := otherVolume(c.path)
		return err == nil && (key == "LABEL" && v.Label == value || key == "UUID" && strings.EqualFold(v.UUID, value)), nil
	})
	return len(found) > 0
}

var errNoOther = errors.New("neither swap space nor FAT")

// otherVolume reads the names of a swap space (include/linux/swap.h, pages of
// 4096 bytes) or of a FAT (Microsoft, "FAT: General Overview of On-Disk Format",
// boot sector), as blkid(8) gives them.
func otherVolume(device string) (Volume, error) {
	f, err := os.Open(device)
	if err != nil {
		return Volume{}, err
	}
	defer f.Close()
	b := make([]byte, 4096)
	if _, err := io.ReadFull(f, b); err != nil {
		return Volume{}, err
	}
	if at(b, 4086, "SWAPSPACE2") {
		return Volume{Type: "swap", UUID: uuid(b[1036:]), Label: label(b[1052:1068])}, nil
	}
	for _, fat := range []struct {
		magic         string
		offset, names int
	}{{"FAT32   ", 82, 67}, {"FAT", 54, 39}} {
		if at(b, fat.offset, fat.magic) {
			serial := binary.LittleEndian.Uint32(b[fat.names:])
			return Volume{
				Type: "vfat", UUID: fmt.Sprintf("%04X-%04X", serial>>16, serial&0xffff),
				Label: strings.TrimRight(label(b[fat.names+4:fat.names+15]), " "),
			}, nil
		}
	}
	return Volume{}, errNoOther
}
