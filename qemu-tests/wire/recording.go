package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// A Call is one call of NFS that a node has made while it booted.
type Call struct {
	Procedure uint32
	// Message is the call without its record mark. Its first four bytes are the XID.
	Message []byte
	// After is the call whose reply came last before this one was sent, -1: none.
	// Pause is the time from that reply, or from the beginning, to this call.
	After int
	Pause time.Duration
	// Sent and Replied are times of the capture.
	Sent, Replied time.Duration
	// Status is NFS's in the reply, Size the reply's length.
	Status uint32
	Size   int
}

// A Recording is what one node has asked of an NFS server while it booted.
type Recording struct {
	Calls []Call
	// Up and Down are the bytes of TCP's payload to the server and from it.
	Up, Down int64
}

// Numbers of RFC 5531, RFC 1833 and RFC 1813.
const (
	programPortmap = 100000
	programNFS     = 100003
	programMount   = 100005

	messageCall  = 0
	messageReply = 1
)

// procedures are the names of NFSv3's.
var procedures = []string{
	"NULL", "GETATTR", "SETATTR", "LOOKUP", "ACCESS", "READLINK", "READ", "WRITE", "CREATE", "MKDIR", "SYMLINK", "MKNOD",
	"REMOVE", "RMDIR", "RENAME", "LINK", "READDIR", "READDIRPLUS", "FSSTAT", "FSINFO", "PATHCONF", "COMMIT",
}

// ProcedureName is what NFSv3 calls a procedure.
func ProcedureName(n uint32) string {
	if int(n) < len(procedures) {
		return procedures[n]
	}
	return fmt.Sprint("procedure ", n)
}

// A recorder makes a recording of a capture.
type recorder struct {
	server  netip.AddrPort
	streams map[[2]netip.AddrPort]*stream
	// open are the calls without a reply so far, by client and XID.
	open map[xidOf]int
	r    Recording
}

type xidOf struct {
	client netip.AddrPort
	xid    uint32
}

// Record reads a capture of one node's boot by NFSv3 over TCP.
func Record(capture io.Reader, server netip.AddrPort) (*Recording, error) {
	r := &recorder{server: server, streams: map[[2]netip.AddrPort]*stream{}, open: map[xidOf]int{}}
	if err := readPcap(capture, r.packet); err != nil {
		return nil, err
	}
	for _, s := range r.streams {
		if s.gap() {
			return nil, errLost
		}
	}
	// What was under way when the capture ended has no reply.
	r.r.Calls = slices.DeleteFunc(r.r.Calls, func(c Call) bool { return c.Replied == 0 })
	if len(r.r.Calls) == 0 {
		return nil, fmt.Errorf("the capture has no call of NFSv3 to %v", server)
	}
	r.r.depend()
	return &r.r, nil
}

func (r *recorder) packet(p packet) error {
	seg, ok := parseSegment(p.data)
	if !ok || seg.udp || seg.from != r.server && seg.to != r.server {
		return nil
	}
	key := [2]netip.AddrPort{seg.from, seg.to}
	s := r.streams[key]
	if s == nil {
		s = &stream{}
		r.streams[key] = s
	}
	if seg.from == r.server {
		r.r.Down += int64(len(seg.payload))
		return s.add(seg, func(m []byte) error { return r.reply(seg.to, p.at, m) })
	}
	r.r.Up += int64(len(seg.payload))
	return s.add(seg, func(m []byte) error { return r.call(seg.from, p.at, m) })
}

func (r *recorder) call(client netip.AddrPort, at time.Duration, m []byte) error {
	if len(m) < 24 || binary.BigEndian.Uint32(m[4:]) != messageCall {
		return nil
	}
	program, version, procedure := binary.BigEndian.Uint32(m[12:]), binary.BigEndian.Uint32(m[16:]), binary.BigEndian.Uint32(m[20:])
	switch {
	case program != programNFS:
		return nil
	case version != 3:
		return fmt.Errorf("a call of NFS version %d: only version 3 can be replayed", version)
	}
	id := xidOf{client, binary.BigEndian.Uint32(m)}
	if _, again := r.open[id]; again {
		return nil // Sent again, as no answer came.
	}
	r.open[id] = len(r.r.Calls)
	r.r.Calls = append(r.r.Calls, Call{Procedure: procedure, Message: slices.Clone(m), Sent: at})
	return nil
}

func (r *recorder) reply(client netip.AddrPort, at time.Duration, m []byte) error {
	id := xidOf{client, 0}
	if len(m) >= 4 {
		id.xid = binary.BigEndian.Uint32(m)
	}
	i, ok := r.open[id]
	if !ok {
		return nil
	}
	delete(r.open, id)
	c := &r.r.Calls[i]
	c.Replied, c.Size = max(at, 1), len(m)
	c.Status = ReplyStatus(m)
	return nil
}

// ReplyHead is where a reply's NFS status ends: XID, type, reply status, an
// empty verifier, accept status, status.
const ReplyHead = 28

// NoStatus is the status of a reply that has none.
const NoStatus = 0xffffffff

// ReplyStatus is the NFS status of a reply; NULL has none.
func ReplyStatus(m []byte) uint32 {
	if len(m) < ReplyHead || binary.BigEndian.Uint32(m[4:]) != messageReply {
		return NoStatus
	}
	for _, zero := range []int{8, 16, 20} { // Accepted, no verifier, executed.
		if binary.BigEndian.Uint32(m[zero:]) != 0 {
			return NoStatus
		}
	}
	return binary.BigEndian.Uint32(m[24:])
}

// depend finds for each call the reply that it waited for: the last one before
// it. A node that boots sends its next call when it has an answer and has
// computed for a while, so a server that answers later is asked later.
func (r *Recording) depend() {
	byReply := make([]int, len(r.Calls))
	for i := range byReply {
		byReply[i] = i
	}
	slices.SortStableFunc(byReply, func(a, b int) int { return int(r.Calls[a].Replied - r.Calls[b].Replied) })
	last := -1 // in byReply
	start := r.Calls[0].Sent
	for i := range r.Calls {
		c := &r.Calls[i]
		for last+1 < len(byReply) && byReply[last+1] < i && r.Calls[byReply[last+1]].Replied <= c.Sent {
			last++
		}
		if last < 0 {
			c.After, c.Pause = -1, c.Sent-start
			continue
		}
		c.After = byReply[last]
		c.Pause = c.Sent - r.Calls[c.After].Replied
	}
}

// Took is the time from the first call to the last reply.
func (r *Recording) Took() time.Duration {
	var end time.Duration
	for _, c := range r.Calls {
		end = max(end, c.Replied)
	}
	return end - r.Calls[0].Sent
}

// Count is how many calls there are of each procedure.
func (r *Recording) Count() map[string]int {
	n := map[string]int{}
	for _, c := range r.Calls {
		n[ProcedureName(c.Procedure)]++
	}
	return n
}
