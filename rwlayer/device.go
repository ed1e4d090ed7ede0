package rwlayer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A NotFoundError says that no device of that name turned up.
type NotFoundError struct {
	// Spec is LABEL=…, UUID=…, PARTUUID=… or /dev/…
	Spec string
	// Have are the block devices that there are.
	Have []string
	// Mismatches say of devices that seem to fit why they do not.
	Mismatches []string
}

func (e *NotFoundError) Error() string {
	have := "there is no block device at all: is its driver in the image (initrdgen build --profile disk, or --module NAME)?"
	if len(e.Have) > 0 {
		have = "there are only " + strings.Join(e.Have, ", ")
	}
	if len(e.Mismatches) > 0 {
		have = strings.Join(e.Mismatches, "; ")
	}
	return "no device " + e.Spec + ": " + have
}

// moreAfter is how long Find waits for what is there before it asks for more.
const moreAfter = 2 * time.Second

// A second device that fits may be slower. So the search goes on until
// no block device has turned up for quiet, and every SCSI disk that a controller
// has found has become one, which takes a disk that spins up a while; but not
// longer than settled from the first device that fits on.
const (
	quiet   = time.Second
	settled = 15 * time.Second
)

// Find waits for the device that spec names, by label, UUID, PARTUUID or path,
// until ctx ends; then the error is a *NotFoundError. Two devices that both fit
// are an error: which of them to write to would be a guess. sysfs and dev
// are /sys and /dev. More, which may be nil, is called once when none has
// turned up for a while: it may make others appear.
func Find(ctx context.Context, spec, sysfs, dev string, more func()) (string, error) {
	fits, err := matcher(spec)
	if err != nil {
		return "", err
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	start := time.Now()
	var first, last time.Time // When one fitted first, and when any turned up or was awaited last.
	known := 0
	for {
		pending := diskPending(sysfs) // Before the search: it may end meanwhile.
		have, found, mismatches := search(sysfs, dev, fits)
		if len(have) != known || pending {
			known, last = len(have), time.Now()
		}
		switch {
		case len(found) > 1:
			return "", fmt.Errorf("rwlayer: %s matches several devices, %s: give one of them another name", spec, strings.Join(found, " and "))
		case len(found) == 1 && strings.HasPrefix(spec, "/dev/"):
			return found[0], nil // There is one of that name only.
		case len(found) == 1:
			if first.IsZero() {
				first = time.Now()
			}
			if time.Since(last) >= quiet || time.Since(first) >= settled {
				return found[0], nil
			}
		case more != nil && time.Since(start) >= moreAfter:
			more()
			more = nil
		}
		select {
		case <-ctx.Done():
			if len(found) == 1 {
				return found[0], nil
			}
			return "", fmt.Errorf("rwlayer: %w", &NotFoundError{Spec: spec, Have: have, Mismatches: mismatches})
		case <-ticker.C:
		}
	}
}

// diskPending tells whether a controller has found a disk that is no block device
// yet: sd adds it when it has spun up.
func diskPending(sysfs string) bool {
	all, _ := filepath.Glob(filepath.Join(sysfs, "class/scsi_device/*/device"))
	for _, device := range all {
		kind, err := os.ReadFile(filepath.Join(device, "type"))
		if err != nil || strings.TrimSpace(string(kind)) != scsiDisk {
			continue
		}
		if _, err := os.Stat(filepath.Join(device, "block")); errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return false
}

// scsiDisk is TYPE_DISK of scsi/scsi_proto.h.
const scsiDisk = "0"

// A candidate is a block device with what may be read from it.
type candidate struct {
	name string // sda1
	path string // /dev/sda1
	sys  string // its folder in sysfs
}

// A fit tells whether a device is the one that is looked for, or why it is not
// although it seems to be.
type fit func(candidate) (fits bool, mismatch error)

func matcher(spec string) (fit, error) {
	key, value, ok := strings.Cut(spec, "=")
	switch {
	case strings.HasPrefix(spec, "/dev/"):
		name := strings.TrimPrefix(spec, "/dev/")
		return func(c candidate) (bool, error) { return c.name == name, nil }, nil
	case !ok || value == "":
	case key == "LABEL":
		return func(c candidate) (bool, error) {
			return c.holds(func(v Volume) bool { return v.Label == value })
		}, nil
	case key == "UUID":
		return func(c candidate) (bool, error) {
			return c.holds(func(v Volume) bool { return strings.EqualFold(v.UUID, value) })
		}, nil
	case key == "PARTUUID":
		return func(c candidate) (bool, error) {
			id, err := c.partUUID()
			return err == nil && strings.EqualFold(id, value), nil
		}, nil
	}
	return nil, fmt.Errorf("rwlayer: %q is none of LABEL=, UUID=, PARTUUID=, /dev/…", spec)
}

func search(sysfs, dev string, fits fit) (have, found, mismatches []string) {
	class := filepath.Join(sysfs, "class/block")
	entries, err := os.ReadDir(class)
	if err != nil {
		return nil, nil, nil
	}
	for _, e := range entries {
		c := candidate{name: e.Name(), path: filepath.Join(dev, e.Name()), sys: filepath.Join(class, e.Name())}
		if size, err := c.number("size"); err != nil || size == 0 {
			continue // An empty loop device, a drive without a medium.
		}
		have = append(have, c.path)
		ok, err := fits(c)
		if ok {
			found = append(found, c.path)
		} else if err != nil {
			mismatches = append(mismatches, c.path+": "+err.Error())
		}
	}
	return have, found, mismatches
}

func (c candidate) number(attribute string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(c.sys, attribute))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// holds tells whether the device is a file system that fits. Only such a one is
// read further for what may lie over it.
func (c candidate) holds(fits func(Volume) bool) (bool, error) {
	f, err := os.Open(c.path)
	if err != nil {
		return false, nil // Not there any more, or no medium in it.
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, nil
	}
	if all, err := names(f, size); err != nil || !slices.ContainsFunc(all, fits) {
		return false, nil
	}
	v, err := identify(f, size)
	return err == nil && fits(v), err
}

// partUUID reads a partition's identity from the table of its disk.
func (c candidate) partUUID() (string, error) {
	number, err := c.number("partition")
	if err != nil {
		return "", err
	}
	// /sys/class/block/sda1 is a link to …/block/sda/sda1.
	folder, err := filepath.EvalSymlinks(c.sys)
	if err != nil {
		return "", err
	}
	disk := candidate{sys: filepath.Dir(folder), name: filepath.Base(filepath.Dir(folder))}
	sector, err := disk.number("queue/logical_block_size")
	if err != nil {
		return "", err
	}
	f, err := os.Open(filepath.Join(filepath.Dir(c.path), disk.name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	return tableUUID(f, sector, number)
}

// tableUUID is the PARTUUID of the n-th partition, as the kernel and blkid name
// it: a GPT's unique GUID (UEFI, 5.3), or an MBR's disk signature and number.
func tableUUID(r io.ReaderAt, sector, n int64) (string, error) {
	header := make([]byte, 92)
	if _, err := r.ReadAt(header, sector); err == nil && at(header, 0, "EFI PART") {
		entries := int64(binary.LittleEndian.Uint64(header[72:]))
		count, size := int64(binary.LittleEndian.Uint32(header[80:])), int64(binary.LittleEndian.Uint32(header[84:]))
		if n < 1 || n > count || size < 128 || entries < 2 || entries > 1<<40 {
			return "", errors.New("damaged GPT")
		}
		entry := make([]byte, 32)
		if _, err := r.ReadAt(entry, entries*sector+(n-1)*size); err != nil {
			return "", err
		}
		return guid(entry[16:]), nil
	}
	mbr := make([]byte, 512)
	if _, err := r.ReadAt(mbr, 0); err != nil {
		return "", err
	}
	if !at(mbr, 510, "\x55\xaa") {
		return "", errors.New("no partition table")
	}
	return fmt.Sprintf("%08x-%02x", binary.LittleEndian.Uint32(mbr[440:]), n), nil
}
