package nfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Numbers of RFC 5531 (RPC), RFC 1833 (portmapper, rpcbind), RFC 1813 (NFS 3,
// appendix I: MOUNT).
const (
	programPortmap = 100000
	programNFS     = 100003
	programMount   = 100005

	portmapPort = 111
	// portmap2GetPort is of version 2, which knows IPv4 only; rpcb3GetAddr of 3.
	portmap2GetPort = 3
	rpcb3GetAddr    = 3
	mount3Export    = 5

	rpcLast  = 1 << 31
	rpcReply = 1
	// maxReply is more than what servers that are of use here answer; a list of
	// thousands of exports is not read.
	maxReply = 256 << 10
)

// errRPC is an answer that is no RPC reply, or a refusal.
var errRPC = errors.New("not a valid RPC answer")

// A call is one remote procedure call without credentials.
type call struct{ program, version, procedure uint32 }

// on sends a call on a connection and returns what it answers. A stream, TCP,
// has the length before each message (RFC 5531, section 11).
func (c call) on(conn net.Conn, stream bool, xid uint32, args []byte) ([]byte, error) {
	var message []byte
	if stream {
		message = append(message, 0, 0, 0, 0)
	}
	for _, n := range []uint32{xid, 0, 2, c.program, c.version, c.procedure, 0, 0, 0, 0} {
		message = binary.BigEndian.AppendUint32(message, n)
	}
	message = append(message, args...)
	if stream {
		binary.BigEndian.PutUint32(message, rpcLast|uint32(len(message)-4))
	}
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	if !stream {
		b := make([]byte, 2048)
		n, err := conn.Read(b)
		if err != nil {
			return nil, err
		}
		return parseReply(b[:n], xid)
	}
	b, err := readRecord(conn)
	if err != nil {
		return nil, err
	}
	return parseReply(b, xid)
}

// readRecord reads a message that may come in fragments.
func readRecord(r io.Reader) (record []byte, err error) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, err
		}
		mark := binary.BigEndian.Uint32(head[:])
		size := int(mark &^ rpcLast)
		if size > maxReply-len(record) {
			return nil, fmt.Errorf("%w: more than %d bytes", errRPC, maxReply)
		}
		if size == 0 && mark&rpcLast == 0 {
			return nil, fmt.Errorf("%w: an empty fragment", errRPC)
		}
		fragment := make([]byte, size)
		if _, err := io.ReadFull(r, fragment); err != nil {
			return nil, err
		}
		record = append(record, fragment...)
		if mark&rpcLast != 0 {
			return record, nil
		}
	}
}

// parseReply returns the results of a successful reply to the call xid.
func parseReply(b []byte, xid uint32) ([]byte, error) {
	d := decoder{b: b}
	gotXID, kind, status := d.uint(), d.uint(), d.uint()
	d.uint() // The verifier's kind.
	d.bytes()
	accepted := d.uint()
	switch {
	case d.short, gotXID != xid, kind != rpcReply:
		return nil, errRPC
	case status != 0 || accepted != 0:
		// Denied, or a program or version that is not there.
		return nil, fmt.Errorf("%w: status %d, %d", errRPC, status, accepted)
	}
	return d.b, nil
}

// A decoder reads XDR (RFC 4506). After the first thing that is not whole all
// is zero and short is set.
type decoder struct {
	b     []byte
	short bool
}

func (d *decoder) uint() uint32 {
	if len(d.b) < 4 {
		d.b, d.short = nil, true
		return 0
	}
	n := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return n
}

// bytes is opaque<> and string<>.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if uint64(n) > uint64(len(d.b)) {
		d.b, d.short = nil, true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[min(int(n+3)&^3, len(d.b)):]
	return b
}

// appendString adds a string<>.
func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	b = append(b, s...)
	return append(b, make([]byte, -len(s)&3)...)
}
