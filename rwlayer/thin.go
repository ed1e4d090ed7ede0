package rwlayer

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errNotReported means that a target does not tell what of a device is stored.
var errNotReported = errors.New("the target does not report what is stored")

// SERVICE ACTION IN (16), and two of its actions (SBC-4, 5.9 and 5.22).
const (
	serviceActionIn16 = 0x9e
	readCapacity16    = 0x10
	getLBAStatus      = 0x12
)

// What is asked of a target, and what is accepted.
const (
	// statusDescriptors are asked for at once.
	statusDescriptors = 128
	// maxStatus bounds the commands for one device. A disk of many small parts
	// is not blank anyway.
	maxStatus = 1000
	// maxMapped is how much stored data is read; a blank volume that has more is
	// proven by samples, as one whose target does not tell.
	maxMapped = 4 << 30
)

// mappedExtents asks the target of a thin volume which parts of it are stored:
// everything else reads as zeros, so that these have to be read for a proof
// without a gap. Targets that do not tell (LIO, and tgt without
// thin_provisioning=1) are errNotReported.
func mappedExtents(d prDevice, size int64) ([]extent, error) {
	block, err := thinBlock(d, size)
	if err != nil {
		return nil, err
	}
	var mapped []extent
	var total int64
	blocks := uint64(size / block)
	next := uint64(0)
	for range maxStatus {
		data := make([]byte, 8+16*statusDescriptors)
		cdb := [16]byte{0: serviceActionIn16, 1: getLBAStatus}
		binary.BigEndian.PutUint64(cdb[2:], next)
		binary.BigEndian.PutUint32(cdb[10:], uint32(len(data)))
		if err := d.scsi(cdb[:], data, false); err != nil {
			return nil, fmt.Errorf("%w: %w", errNotReported, err)
		}
		parts, after, err := parseStatus(data, next, blocks)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotReported, err)
		}
		for _, e := range parts {
			e.offset *= block
			e.length *= block
			mapped = append(mapped, e)
			total += e.length
		}
		if total > maxMapped {
			return nil, fmt.Errorf("%w: more than %d GiB are stored", errNotReported, maxMapped>>30)
		}
		if after >= blocks {
			return mapped, nil
		}
		next = after
	}
	return nil, fmt.Errorf("%w in %d answers", errNotReported, maxStatus)
}

// thinBlock is the block size of a thin volume whose blocks that are not stored
// read as zeros (LBPME and LBPRZ).
func thinBlock(d prDevice, size int64) (int64, error) {
	data := make([]byte, 32)
	cdb := [16]byte{0: serviceActionIn16, 1: readCapacity16, 13: byte(len(data))}
	if err := d.scsi(cdb[:], data, false); err != nil {
		return 0, fmt.Errorf("%w: %w", errNotReported, err)
	}
	const thin = 0xc0
	block := int64(binary.BigEndian.Uint32(data[8:]))
	last := binary.BigEndian.Uint64(data)
	if data[14]&thin != thin || block < 512 || block > 1<<20 || size%block != 0 || last != uint64(size/block)-1 {
		return 0, errNotReported
	}
	return block, nil
}

// parseStatus reads an answer to GET LBA STATUS that begins at a block: what of
// it is stored, in blocks, and the block behind what the answer tells of. The
// descriptors have to follow each other without a gap.
func parseStatus(data []byte, begin, blocks uint64) (stored []extent, after uint64, err error) {
	const header, descriptor = 8, 16
	if len(data) < header {
		return nil, 0, errors.New("a short answer")
	}
	// The length that it gives does not count its own four bytes.
	n := min(uint64(len(data)), 4+uint64(binary.BigEndian.Uint32(data)))
	after = begin
	for at := uint64(header); at+descriptor <= n && after < blocks; at += descriptor {
		d := data[at:]
		from, count := binary.BigEndian.Uint64(d), uint64(binary.BigEndian.Uint32(d[8:]))
		if from > after || count == 0 || from > blocks || from+count <= after {
			return nil, 0, fmt.Errorf("an answer about %d blocks at %d, instead of %d", count, from, after)
		}
		end := min(from+count, blocks)
		const deallocated = 1
		if d[12]&0xf != deallocated {
			stored = append(stored, extent{int64(after), int64(end - after)})
		}
		after = end
	}
	if after == begin {
		return nil, 0, fmt.Errorf("an answer without block %d", begin)
	}
	return stored, after, nil
}
