package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// A tape is a capture that a test writes.
type tape struct {
	bytes.Buffer
	at  time.Duration
	seq map[netip.AddrPort]uint32
}

var (
	node   = netip.MustParseAddrPort("10.77.0.11:700")
	server = netip.MustParseAddrPort("10.77.0.1:2049")
)

func newTape() *tape {
	t := &tape{seq: map[netip.AddrPort]uint32{node: 0xfffffff0, server: 5}}
	head := make([]byte, 24)
	binary.LittleEndian.PutUint32(head, 0xa1b2c3d4)
	binary.LittleEndian.PutUint32(head[20:], 1)
	t.Write(head)
	t.frame(node, server, t.seq[node], 2, nil)
	t.frame(server, node, t.seq[server], 2, nil)
	t.seq[node]++
	t.seq[server]++
	return t
}

// frame writes a packet of TCP.
func (t *tape) frame(from, to netip.AddrPort, seq uint32, flags byte, payload []byte) {
	f := make([]byte, 14+20+20, 14+20+20+len(payload))
	f[12] = 8
	f[14] = 0x45
	binary.BigEndian.PutUint16(f[16:], uint16(40+len(payload)))
	f[23] = protocolTCP
	a, b := from.Addr().As4(), to.Addr().As4()
	copy(f[26:], a[:])
	copy(f[30:], b[:])
	binary.BigEndian.PutUint16(f[34:], from.Port())
	binary.BigEndian.PutUint16(f[36:], to.Port())
	binary.BigEndian.PutUint32(f[38:], seq)
	f[46], f[47] = 5<<4, flags
	f = append(f, payload...)
	head := make([]byte, 16)
	binary.LittleEndian.PutUint32(head, uint32(t.at/time.Second))
	binary.LittleEndian.PutUint32(head[4:], uint32(t.at%time.Second/time.Microsecond))
	binary.LittleEndian.PutUint32(head[8:], uint32(len(f)))
	binary.LittleEndian.PutUint32(head[12:], uint32(len(f)))
	t.Write(head)
	t.Write(f)
}

// say sends messages at a time, in one segment.
func (t *tape) say(at time.Duration, from, to netip.AddrPort, messages ...[]byte) {
	t.at = at
	payload := bytes.Join(messages, nil)
	t.frame(from, to, t.seq[from], 16, payload)
	t.seq[from] += uint32(len(payload))
}

func words(last bool, w ...uint32) []byte {
	mark := uint32(4 * len(w))
	if last {
		mark |= lastFragment
	}
	b := binary.BigEndian.AppendUint32(nil, mark)
	for _, n := range w {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func request(xid, procedure uint32) []byte {
	return words(true, xid, messageCall, 2, programNFS, 3, procedure, 0, 0, 0, 0)
}

func answer(xid, status uint32) []byte { return words(true, xid, messageReply, 0, 0, 0, 0, status) }

// TestRecord reads a connection whose sequence numbers wrap, with segments that
// come twice and in another order, two calls in one segment and a reply in
// fragments.
func TestRecord(t *testing.T) {
	tp := newTape()
	const ms = time.Millisecond
	tp.say(10*ms, node, server, request(1, 1))
	again := tp.seq[node]
	tp.say(20*ms, server, node, answer(1, 0))
	tp.say(30*ms, node, server, request(2, 6), request(3, 6))
	// What was sent before comes again, with its end in front of what is next.
	tp.frame(node, server, again, 16, append(request(2, 6), request(3, 6)...))
	early := tp.seq[server]
	fragments := append(words(false, 3, messageReply, 0, 0), words(true, 0, 0, 70)...)
	tp.at = 40 * ms
	tp.frame(server, node, early+8, 16, fragments[8:]) // Its first 8 bytes come later.
	tp.at = 50 * ms
	tp.frame(server, node, early, 16, fragments[:8])
	tp.seq[server] += uint32(len(fragments))
	tp.say(60*ms, server, node, answer(2, 0))
	tp.say(61*ms, node, server, request(4, 3))
	tp.say(62*ms, node, server, request(5, 3)) // No reply comes.
	tp.say(70*ms, server, node, answer(4, 2))

	r, err := Record(tp, server)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		procedure, status uint32
		after             int
		pause             time.Duration
	}
	var got []row
	for _, c := range r.Calls {
		got = append(got, row{c.Procedure, c.Status, c.After, c.Pause})
	}
	want := []row{{1, 0, -1, 0}, {6, 0, 0, 10 * ms}, {6, 70, 0, 10 * ms}, {3, 2, 1, 1 * ms}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("call %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	if took := r.Took(); took != 60*ms {
		t.Errorf("took %v, want 60ms", took)
	}
	if n := r.Count(); n["READ"] != 2 || n["LOOKUP"] != 1 || n["GETATTR"] != 1 {
		t.Errorf("count %v", n)
	}
}

// TestRecordLost has a segment that never comes.
func TestRecordLost(t *testing.T) {
	tp := newTape()
	tp.seq[node] += 8
	tp.say(time.Millisecond, node, server, request(1, 1))
	if _, err := Record(tp, server); !errors.Is(err, errLost) {
		t.Errorf("got %v, want that packets were lost", err)
	}
}

func TestKinds(t *testing.T) {
	tp := newTape()
	tp.say(time.Second, node, server, request(1, 4))
	tp.say(time.Second, server, node, answer(1, 0))
	tp.say(time.Second, node, server, nil)
	kinds, err := Kinds(tp)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, k := range kinds {
		got[k.Name] = k.Packets
	}
	want := map[string]int{"TCP: begin of a connection": 2, "NFS ACCESS": 2, "TCP: acknowledgement only": 1}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: got %d, want %d", name, got[name], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// FuzzRecord reads whatever may be in a capture.
func FuzzRecord(f *testing.F) {
	tp := newTape()
	tp.say(time.Second, node, server, request(1, 1))
	tp.say(time.Second, server, node, answer(1, 0))
	f.Add(tp.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Record(bytes.NewReader(b), server); err == nil {
			for i, c := range r.Calls {
				if c.After >= i {
					t.Errorf("call %d waits for call %d", i, c.After)
				}
			}
		}
		_, _ = Kinds(bytes.NewReader(b))
	})
}
