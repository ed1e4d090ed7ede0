package qemutests

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"unicode/utf16"
)

// An efiGUID is a name in UEFI, as it is in memory.
type efiGUID [16]byte

// Names of UEFI (MdePkg/Include/Guid, SecurityPkg/Include/Guid in edk2).
var (
	globalVariable   = efiGUID{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	imageSecurity    = efiGUID{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
	secureBootEnable = efiGUID{0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44}
	certX509         = efiGUID{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
	variableStore    = efiGUID{0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92}
	labOwner         = efiGUID{'s', 'i', 'd', 'u', 's', 'b', 'o', 'o', 't', '-', 'l', 'a', 'b', 0, 0, 1}
)

// Attributes of variables: kept, for the firmware, for the system; and written only
// with a signature.
const (
	varBoot          = 0x3
	varAuthenticated = 0x27
)

// enrolled is OVMF's store of variables in which a certificate (DER) is the
// platform's key, the only one that may change keys, and the only one by which
// programs are trusted: Secure Boot is on.
func enrolled(certificate []byte) ([]byte, error) {
	store, err := os.ReadFile(ovmfVariables)
	if err != nil {
		return nil, err
	}
	// A header of a firmware volume, which says how long it is, then that of the store.
	at := int(binary.LittleEndian.Uint16(store[0x30:]))
	if !bytes.HasPrefix(store[at:], variableStore[:]) {
		return nil, fmt.Errorf("%s has another format than edk2's authenticated variables", ovmfVariables)
	}
	at += 28
	var list bytes.Buffer
	size := uint32(len(labOwner) + len(certificate))
	list.Write(certX509[:])
	_ = binary.Write(&list, binary.LittleEndian, []uint32{28 + size, 0, size})
	list.Write(labOwner[:])
	list.Write(certificate)
	for _, v := range []struct {
		name       string
		owner      efiGUID
		attributes uint32
		data       []byte
	}{
		{"db", imageSecurity, varAuthenticated, list.Bytes()},
		{"KEK", globalVariable, varAuthenticated, list.Bytes()},
		{"PK", globalVariable, varAuthenticated, list.Bytes()},
		{"SecureBootEnable", secureBootEnable, varBoot, []byte{1}},
	} {
		name := utf16.Encode([]rune(v.name + "\x00"))
		var b bytes.Buffer
		const start, there = 0x55aa, 0x3f
		_ = binary.Write(&b, binary.LittleEndian, struct {
			Start       uint16
			State       byte
			_           byte
			Attributes  uint32
			_           uint64
			Year        uint16
			Month, Day  byte
			_           [12]byte
			_           uint32
			Name, Bytes uint32
			Owner       efiGUID
		}{start, there, 0, v.attributes, 0, 2026, 1, 1, [12]byte{}, 0, uint32(2 * len(name)), uint32(len(v.data)), v.owner})
		_ = binary.Write(&b, binary.LittleEndian, name)
		b.Write(v.data)
		at = (at + 3) &^ 3
		if at+b.Len() > len(store)/8 {
			return nil, fmt.Errorf("%s has no space for the keys", ovmfVariables)
		}
		at += copy(store[at:], b.Bytes())
	}
	return store, nil
}
