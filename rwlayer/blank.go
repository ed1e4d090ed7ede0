package rwlayer

import (
	"errors"
	"fmt"
	"io"
)

// What is read to prove that a device is blank.
const (
	// fullBytes: a device of at most this size is read whole.
	fullBytes = 256 << 20
	// edgeBytes are read at the beginning and at the end of a larger one.
	edgeBytes = 64 << 20
	// samples are read in between, spread evenly.
	samples     = 1024
	sampleBytes = 4096
	chunkBytes  = 1 << 20
)

// A DataError says that a device is not blank.
type DataError struct {
	// Offset is that of the first byte found that is not zero.
	Offset int64
}

func (e *DataError) Error() string {
	return fmt.Sprintf("it holds data of an unknown kind, the first found at byte %d: it is left untouched; give the node an empty volume, or zero this one yourself", e.Offset)
}

// ProveBlank reads the device and returns nil only if it is proven blank: every
// byte read is zero. A device of at most 256 MiB is read whole; of a larger
// one the first and the last 64 MiB and 1,024 places in between. Data found is
// a *DataError. A device that cannot be read proves nothing, which is an error
// too.
func ProveBlank(r io.ReaderAt, size int64) error {
	if size <= 0 {
		return errors.New("the device has no size")
	}
	if size <= fullBytes {
		return zeros(r, 0, size)
	}
	if err := zeros(r, 0, edgeBytes); err != nil {
		return err
	}
	if err := zeros(r, size-edgeBytes, edgeBytes); err != nil {
		return err
	}
	middle := size - 2*edgeBytes
	for i := range int64(samples) {
		// Aligned, as the device may have sectors of 4096 bytes.
		offset := edgeBytes + middle/samples*i
		offset -= offset % sampleBytes
		if err := zeros(r, offset, sampleBytes); err != nil {
			return err
		}
	}
	return nil
}

// zeros reads n bytes from offset on; all of them have to be there and zero.
func zeros(r io.ReaderAt, offset, n int64) error {
	b := make([]byte, min(n, chunkBytes))
	for end := offset + n; offset < end; {
		b = b[:min(int64(len(b)), end-offset)]
		if _, err := io.ReadFull(io.NewSectionReader(r, offset, int64(len(b))), b); err != nil {
			return fmt.Errorf("read %d bytes at %d: %w", len(b), offset, err)
		}
		if i := firstByte(b); i >= 0 {
			return &DataError{Offset: offset + int64(i)}
		}
		offset += int64(len(b))
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
