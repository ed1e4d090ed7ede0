package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidusboot/sidusboot/qemu-tests/wire"
)

// A node plays one recording on a connection of its own, as a booting node would:
// each call waits for the reply that it waited for when it was recorded, and for
// the time that the node computed after that.
type node struct {
	conn net.Conn
	r    *wire.Recording
	// pace multiplies the time that nodes compute.
	pace float64
	xid  uint32 // of the first call; they count up
	all  *totals

	mu      sync.Mutex
	replied []time.Duration // since start; 0: not yet
	sent    []time.Duration
	news    chan struct{} // has one when a reply has come
	start   time.Time
}

// totals are what all nodes of a run count together.
type totals struct {
	bytes, wrong atomic.Int64
	// perSecond are the replies of each second.
	perSecond [3600]atomic.Int64
	first     atomic.Pointer[string] // what was wrong first
}

// play sends the calls in their order. It returns when the last reply has come,
// with the time that took.
func (n *node) play(ctx context.Context, start time.Time) (time.Duration, error) {
	n.start = start
	n.replied = make([]time.Duration, len(n.r.Calls))
	n.sent = make([]time.Duration, len(n.r.Calls))
	n.news = make(chan struct{}, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { n.conn.Close() })
	defer stop()
	ended := make(chan error, 1)
	go func() {
		err := n.read()
		if err != nil {
			cancel(err)
		}
		ended <- err
	}()
	if err := n.write(ctx); err != nil {
		return 0, err
	}
	if err := <-ended; err != nil {
		return 0, err
	}
	return slices.Max(n.replied), nil
}

// write sends the calls, several at once where they wait for nothing in between.
func (n *node) write(ctx context.Context) error {
	var out []byte
	for i, c := range n.r.Calls {
		due := time.Duration(float64(c.Pause) * n.pace)
		if c.After >= 0 {
			replied, ok := n.reply(c.After)
			if !ok {
				if err := n.flush(&out); err != nil {
					return err
				}
				var err error
				if replied, err = n.wait(ctx, c.After); err != nil {
					return err
				}
			}
			due += replied
		}
		if pause := due - time.Since(n.start); pause > 0 {
			if err := n.flush(&out); err != nil {
				return err
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		out = binary.BigEndian.AppendUint32(out, 1<<31|uint32(len(c.Message)))
		out = binary.BigEndian.AppendUint32(out, n.xid+uint32(i))
		out = append(out, c.Message[4:]...)
		n.mu.Lock()
		n.sent[i] = time.Since(n.start)
		n.mu.Unlock()
	}
	return n.flush(&out)
}

func (n *node) flush(out *[]byte) error {
	if len(*out) == 0 {
		return nil
	}
	_, err := n.conn.Write(*out)
	*out = (*out)[:0]
	return err
}

func (n *node) reply(i int) (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.replied[i], n.replied[i] != 0
}

// wait waits for the reply to a call.
func (n *node) wait(ctx context.Context, i int) (time.Duration, error) {
	for {
		if replied, ok := n.reply(i); ok {
			return replied, nil
		}
		select {
		case <-n.news:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// read takes replies until every call has one.
func (n *node) read() error {
	in := bufio.NewReaderSize(n.conn, 64<<10)
	for range n.r.Calls {
		i, status, err := n.readReply(in)
		if err != nil {
			return err
		}
		if want := n.r.Calls[i].Status; status != want {
			n.all.wrong.Add(1)
			text := fmt.Sprintf("%s: status %d, recorded was %d", wire.ProcedureName(n.r.Calls[i].Procedure), status, want)
			n.all.first.CompareAndSwap(nil, &text)
		}
		at := max(time.Since(n.start), 1)
		n.mu.Lock()
		n.replied[i] = at
		n.mu.Unlock()
		if second := int(at / time.Second); second < len(n.all.perSecond) {
			n.all.perSecond[second].Add(1)
		}
		select {
		case n.news <- struct{}{}:
		default:
		}
	}
	return nil
}

// errReply is a reply that no call of the node has.
var errReply = errors.New("a reply to no call")

// readReply reads one reply: whose it is, and NFS's status in it.
func (n *node) readReply(in *bufio.Reader) (i int, status uint32, err error) {
	var head [wire.ReplyHead]byte
	have := 0
	for last := false; !last; {
		var mark [4]byte
		if _, err := io.ReadFull(in, mark[:]); err != nil {
			return 0, 0, err
		}
		m := binary.BigEndian.Uint32(mark[:])
		last = m>>31 == 1
		length := int(m &^ (1 << 31))
		n.all.bytes.Add(int64(length + 4))
		part := min(length, len(head)-have)
		if _, err := io.ReadFull(in, head[have:have+part]); err != nil {
			return 0, 0, err
		}
		have += part
		if _, err := in.Discard(length - part); err != nil {
			return 0, 0, err
		}
	}
	xid := binary.BigEndian.Uint32(head[:])
	if i = int(xid - n.xid); i >= len(n.r.Calls) || have < 4 {
		return 0, 0, fmt.Errorf("%w: XID %#x", errReply, xid)
	}
	return i, wire.ReplyStatus(head[:have]), nil
}

// slowest is the longest time that a call waited for its reply.
func (n *node) slowest() (longest time.Duration) {
	for i, replied := range n.replied {
		longest = max(longest, replied-n.sent[i])
	}
	return longest
}
