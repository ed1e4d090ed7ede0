package rwlayer

import (
	"fmt"
	"io"
)

// A NotBlankError says that a device is not blank.
type NotBlankError struct {
	// Offset is that of the first byte found that is not zero.
	Offset int64
}

func (e *NotBlankError) Error() string {
	return fmt.Sprintf("it has data of an unknown kind, first found at byte %d: it is not changed; give the node an empty volume, or fill this one with zeros yourself", e.Offset)
}

// chunkBytes is how much is read at once.
const chunkBytes = 1 << 20

// proveBlank reads the device and returns nil only if every byte read is zero. A
// device of at most 256 MiB is read whole; of a larger one mapped, which is what
// the target says that it has stored (see mappedExtents), and then the places
// where anything known has its beginning, its end or a copy of its superblock
// (see blankPlan), and samples in between. Data found is a *NotBlankError. A device
// that cannot be read proves nothing, which is an error too. The function progress, which
// may be nil, is called with how many bytes of how many have been read.
func proveBlank(r io.ReaderAt, size int64, mapped []extent, progress func(done, total int64)) error {
	if size <= 0 || size > maxDevice {
		return fmt.Errorf("a device cannot have %d bytes", size)
	}
	// What is most likely to be there comes first.
	plan := append(blankPlan(size), mapped...)
	var done, total int64
	for _, e := range plan {
		total += e.length
	}
	b := make([]byte, min(size, chunkBytes))
	for _, e := range plan {
		for end := e.offset + e.length; e.offset < end; {
			n := min(int64(len(b)), end-e.offset)
			if err := zeros(r, e.offset, b[:n]); err != nil {
				return err
			}
			e.offset += n
			done += n
			if progress != nil {
				progress(done, total)
			}
		}
	}
	return nil
}

// zeros fills b from offset on; all of it has to be there and zero.
func zeros(r io.ReaderAt, offset int64, b []byte) error {
	if _, err := io.ReadFull(io.NewSectionReader(r, offset, int64(len(b))), b); err != nil {
		return fmt.Errorf("read %d bytes at %d: %w", len(b), offset, err)
	}
	if i := firstByte(b); i >= 0 {
		return &NotBlankError{Offset: offset + int64(i)}
	}
	return nil
}

// firstByte is the index of the first byte that is not zero, or -1.
func firstByte(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return -1
}
