package rwlayer

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Stamp tells one mount of a file system from the next: ext4 writes the time
// and the number of a mount into its superblock. It is empty where the file
// system has nothing of the kind.
type Stamp string

// ErrTaken says that another node has mounted the volume since this one did.
var ErrTaken = errors.New("another node has mounted the volume since this one did")

// ErrReplaced says that the volume is not the one that this node has mounted. A
// target that is started before its own storage is there offers an empty one: LIO
// makes a file that is missing (fd_configure_device in
// drivers/target/target_core_file.c).
var ErrReplaced = errors.New("the target offers another volume than the one that this node has mounted, or an empty one: check the storage and the LUNs on the target; until they are right again, nothing is written")

// Where ext4 has its superblock, and in it (struct ext4_super_block in
// fs/ext4/ext4.h) what a mount changes.
const (
	extBlock      = 1024
	extMountTime  = 0x2c // s_mtime
	extMountCount = 0x34 // s_mnt_count
	extMagicAt    = 0x38 // s_magic
	extUUID       = 0x68 // s_uuid
)

// ReadStamp reads the stamp of the file system on a device.
func ReadStamp(device io.ReaderAt) (Stamp, error) {
	b := make([]byte, 2*extBlock)
	if _, err := device.ReadAt(b, 0); err != nil {
		return "", fmt.Errorf("read the superblock: %w", err)
	}
	return stampOf(b), nil
}

// stampOf is the stamp in the first bytes of a device.
func stampOf(b []byte) Stamp {
	b = b[extBlock:]
	if binary.LittleEndian.Uint16(b[extMagicAt:]) != 0xef53 {
		return ""
	}
	return Stamp(hex.EncodeToString(slices.Concat(b[extUUID:extUUID+16], b[extMountTime:extMountTime+4], b[extMountCount:extMountCount+2])))
}

// sameVolume tells whether two stamps are of one file system: they begin with its
// UUID.
func (s Stamp) sameVolume(other Stamp) bool {
	const uuid = 2 * 16
	return len(s) >= uuid && len(other) >= uuid && s[:uuid] == other[:uuid]
}

// Commands for the stamp (SBC-3, 5.15 and 5.11).
const (
	readCapacity10 = 0x25
	read10         = 0x28
)

// askStamp is ReadStamp by SCSI commands.
func askStamp(d prDevice) (Stamp, error) {
	var capacity [8]byte
	if err := d.scsi([]byte{0: readCapacity10, 9: 0}, capacity[:], false); err != nil {
		return "", fmt.Errorf("get the size of a block: %w", err)
	}
	size := binary.BigEndian.Uint32(capacity[4:])
	if size < 512 || size > 1<<15 {
		return "", fmt.Errorf("the target reports blocks of %d bytes", size)
	}
	blocks := (2*extBlock + size - 1) / size
	data := make([]byte, blocks*size)
	if err := d.scsi([]byte{0: read10, 8: byte(blocks), 9: 0}, data, false); err != nil {
		return "", fmt.Errorf("read the superblock: %w", err)
	}
	return stampOf(data), nil
}

// Admit tells whether a node that runs on the volume may write to it after its
// connection was down: no other node has mounted it meanwhile, which the stamp
// tells even where the target has forgotten all keys, and no other node has it
// now. Known are the stamps that this node's own mount has had; with none only
// the keys tell. A volume that was taken is ErrTaken, another one in its place
// ErrReplaced, and nothing is registered there; a *HeldError is like that of Hold.
func Admit(c Commander, key Key, known []Stamp) error {
	if len(known) > 0 {
		now, err := askStamp(newDevice(c))
		var refused *senseError
		switch {
		case errors.As(err, &refused): // A bad block, say: then the keys have to do.
		case err != nil:
			return err
		case !slices.ContainsFunc(known, now.sameVolume):
			return ErrReplaced
		case !slices.Contains(known, now):
			return ErrTaken
		}
	}
	return Register(c, key)
}
