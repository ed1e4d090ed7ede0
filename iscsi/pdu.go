package iscsi

import (
	"encoding/binary"
	"io"
)

// Opcodes (RFC 7143, section 11.2.1.2) that this package sends or reads.
const (
	OpLoginRequest   = 0x03
	OpLogoutRequest  = 0x06
	OpNopIn          = 0x20
	OpLoginResponse  = 0x23
	OpLogoutResponse = 0x26
	OpAsync          = 0x32
	OpReject         = 0x3f

	opImmediate = 0x40
)

const (
	headerLen = 48
	// maxLoginData is the longest data segment during a login: no other length
	// was agreed on yet (RFC 7143, section 13.12), and the kernel ends a
	// connection that brings more (iscsi_tcp_hdr_dissect).
	maxLoginData = 8192
)

// A Header is a basic header segment, big-endian (RFC 7143, section 11.2.1).
type Header [headerLen]byte

// Opcode leaves the flag bits out.
func (h *Header) Opcode() byte { return h[0] & 0x3f }

// Uint16, Uint32 and their Set forms reach the fields by offset.
func (h *Header) Uint16(at int) uint16       { return binary.BigEndian.Uint16(h[at:]) }
func (h *Header) Uint32(at int) uint32       { return binary.BigEndian.Uint32(h[at:]) }
func (h *Header) SetUint16(at int, v uint16) { binary.BigEndian.PutUint16(h[at:], v) }
func (h *Header) SetUint32(at int, v uint32) { binary.BigEndian.PutUint32(h[at:], v) }

// DataLen is the length of the data segment without its padding.
func (h *Header) DataLen() int { return int(h.Uint32(4) & 0xffffff) }

// AHSLen is the length of the additional header segments.
func (h *Header) AHSLen() int { return int(h[4]) * 4 }

// A PDU is one protocol data unit, without digests.
type PDU struct {
	Header Header
	AHS    []byte
	Data   []byte
}

// Append appends the PDU's wire form to b, with its lengths filled in. The
// data must be shorter than 16 MiB, the AHS at most 1020 bytes.
func (p *PDU) Append(b []byte) []byte {
	h := p.Header
	h.SetUint32(4, uint32(len(p.Data)))
	h[4] = byte((len(p.AHS) + 3) / 4)
	b = append(b, h[:]...)
	b = append(append(b, p.AHS...), padding(len(p.AHS))...)
	return append(append(b, p.Data...), padding(len(p.Data))...)
}

// padding brings a segment to a multiple of four bytes.
func padding(n int) []byte { return make([]byte, -n&3) }

// ReadPDU reads one PDU whose data segment has at most limit bytes.
func ReadPDU(r io.Reader, limit int) (PDU, error) {
	var p PDU
	if _, err := io.ReadFull(r, p.Header[:]); err != nil {
		return PDU{}, err
	}
	n := p.Header.DataLen()
	if n > limit {
		return PDU{}, protocolErrorf("a PDU with %d bytes of data where %d are allowed", n, limit)
	}
	ahs := p.Header.AHSLen()
	rest := make([]byte, ahs+n+len(padding(n)))
	if _, err := io.ReadFull(r, rest); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return PDU{}, err
	}
	if ahs > 0 {
		p.AHS = rest[:ahs:ahs]
	}
	p.Data = rest[ahs : ahs+n]
	return p, nil
}
