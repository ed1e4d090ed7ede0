package initrd

import (
	"encoding/binary"
	"errors"
)

var errMicrocode = errors.New("not microcode, or damaged")

// splitIntel divides a file of Intel's, in which one update follows another. Several
// files have the same one, for processors that share it.
func splitIntel(data []byte) (parts []string, err error) {
	for len(data) > 0 {
		const header = 48 // struct microcode_header_intel
		if len(data) < header {
			return nil, errMicrocode
		}
		word := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
		size := word(32)
		if word(28) == 0 {
			size = 2048 // Without a size of the data: the first ones.
		}
		if word(0) != 1 || word(20) != 1 || size < header || size%1024 != 0 || int(size) > len(data) {
			return nil, errMicrocode
		}
		sum := uint32(0)
		for at := 0; at < int(size); at += 4 {
			sum += word(at)
		}
		if sum != 0 {
			return nil, errMicrocode
		}
		parts, data = append(parts, string(data[:size])), data[size:]
	}
	if len(parts) == 0 {
		return nil, errMicrocode
	}
	return parts, nil
}

// splitAMD checks the frame of a file of AMD's: a table of processors, then updates,
// each with its kind and its size.
func splitAMD(data []byte) ([]string, error) {
	const magic, tableOf, updateOf = 0x00414d44, 0, 1
	rest := data
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(rest[at:]) }
	for len(rest) > 0 {
		if len(rest) < 12 || word(0) != magic || word(4) != tableOf || uint64(word(8)) > uint64(len(rest)-12) {
			return nil, errMicrocode
		}
		rest = rest[12+word(8):]
		for len(rest) >= 8 && word(0) == updateOf {
			if uint64(word(4)) > uint64(len(rest)-8) {
				return nil, errMicrocode
			}
			rest = rest[8+word(4):]
		}
	}
	if len(data) == 0 {
		return nil, errMicrocode
	}
	return []string{string(data)}, nil
}
