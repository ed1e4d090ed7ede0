package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/qemu-tests/wire"
)

// message is a call or a reply of words of 32 bits, without its mark.
func message(words ...uint32) (b []byte) {
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// three are calls of which the third waits for the second, and then for a pause.
func three() *wire.Recording {
	call := message(0, 0, 2, 100003, 3, 1, 0, 0, 0, 0)
	return &wire.Recording{Calls: []wire.Call{
		{Message: call, After: -1},
		{Message: call, After: -1},
		{Message: call, After: 1, Pause: 20 * time.Millisecond, Status: 2},
	}}
}

// takes reads a call of the node and returns its XID.
func takes(t *testing.T, conn net.Conn) uint32 {
	t.Helper()
	head := make([]byte, 8)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Error(err)
		return 0
	}
	if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head)&^(1<<31))-4); err != nil {
		t.Error(err)
	}
	return binary.BigEndian.Uint32(head[4:])
}

// answers sends a reply in two fragments.
func answers(t *testing.T, conn net.Conn, xid, status uint32) {
	t.Helper()
	m := message(xid, 1, 0, 0, 0, 0, status)
	first := append(message(8), m[:8]...)
	second := append(message(1<<31|uint32(len(m)-8+2048)), m[8:]...)
	if _, err := conn.Write(append(append(first, second...), bytes.Repeat([]byte{7}, 2048)...)); err != nil {
		t.Error(err)
	}
}

func TestPlay(t *testing.T) {
	ours, theirs := net.Pipe()
	var all totals
	n := &node{conn: ours, r: three(), pace: 1, xid: 0xffffffff, all: &all}
	go func() {
		first, second := takes(t, theirs), takes(t, theirs)
		if first != 0xffffffff || second != 0 {
			t.Errorf("XIDs %#x, %#x", first, second)
		}
		answers(t, theirs, second, 0)
		third := takes(t, theirs) // It does not wait for the reply to the first.
		answers(t, theirs, third, 70)
		answers(t, theirs, first, 0)
	}()
	took, err := n.play(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if pause := n.sent[2] - n.replied[1]; pause < 20*time.Millisecond || took < n.sent[2] {
		t.Errorf("the third call was sent %v after the reply that it waits for, at %v of %v", pause, n.sent[2], took)
	}
	if all.wrong.Load() != 1 || *all.first.Load() != "NULL: status 70, recorded was 2" {
		t.Errorf("%d replies had a wrong status", all.wrong.Load())
	}
	if all.perSecond[0].Load() != 3 {
		t.Errorf("%d replies", all.perSecond[0].Load())
	}
}

// TestPlayLost has a server that closes the connection.
func TestPlayLost(t *testing.T) {
	ours, theirs := net.Pipe()
	n := &node{conn: ours, r: three(), pace: 1, all: &totals{}}
	go func() {
		takes(t, theirs)
		theirs.Close()
	}()
	if _, err := n.play(t.Context(), time.Now()); err == nil {
		t.Error("a closed connection: no error")
	}
}
