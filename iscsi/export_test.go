package iscsi

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A FakeKernel does what iscsi_tcp does between user space and a target: it
// keeps what it is asked, and carries PDUs over the socket that it is given.
type FakeKernel struct {
	*Kernel
	mu      sync.Mutex
	calls   []uint16
	params  map[uint32]string
	conn    net.Conn
	stopped bool
	Fail    map[uint16]unix.Errno // requests to fail
	Mute    bool                  // keeps the events of unbinding to itself
	State   func(state string)
}

// NewFakeKernel uses root for sysfs.
func NewFakeKernel(root string) *FakeKernel {
	f := &FakeKernel{params: map[uint32]string{}, Fail: map[uint16]unix.Errno{}, State: func(string) {}}
	f.Kernel = &Kernel{root: root, handle: 42, link: f, events: newEvents()}
	return f
}

// Calls are the requests so far, as numbers of enum iscsi_uevent_e, without
// the parameters, and forgets them.
func (f *FakeKernel) Calls() []uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *FakeKernel) Param(p uint32) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.params[p]
}

// Break is what happens when the target closes the connection.
func (f *FakeKernel) Break() {
	f.mu.Lock()
	f.conn.Close()
	f.mu.Unlock()
	f.event(keventConnError, 5, 0, 1020)
}

// Deliver brings a PDU that nobody asked for.
func (f *FakeKernel) Deliver(p PDU) { f.events.dispatch(fakeEvent(keventRecvPDU, p.Append(nil), 5, 0)) }

func (f *FakeKernel) Overrun() { f.events.lost() }

func (f *FakeKernel) event(kind uint32, r ...uint32) { f.events.dispatch(fakeEvent(kind, nil, r...)) }

func fakeEvent(kind uint32, payload []byte, r ...uint32) []byte {
	return kernelEvent(kind, r, payload)
}

func (f *FakeKernel) Close() error { return nil }

func (f *FakeKernel) call(kind uint16, ev uevent, payload []byte) (answer uevent, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind != ueventSetParam && (len(f.calls) == 0 || f.calls[len(f.calls)-1] != kind) {
		f.calls = append(f.calls, kind)
	}
	answer = ev
	fail := func(e unix.Errno) (uevent, error) {
		answer.words(offType, keventIfError, uint32(-int32(e)))
		return answer, nil
	}
	if e := f.Fail[kind]; e != 0 {
		return fail(e)
	}
	if binary.NativeEndian.Uint64(ev[offHandle:]) != 42 {
		return fail(unix.EINVAL)
	}
	switch kind {
	case ueventCreateSession:
		answer.words(offR, 5, 2) // sid, host
	case ueventBindConn:
		fd, err := unix.Dup(int(ev.u32(offU + 8)))
		if err != nil {
			return fail(unix.EBADF)
		}
		file := os.NewFile(uintptr(fd), "bound")
		f.conn, err = net.FileConn(file)
		file.Close()
		if err != nil {
			return fail(unix.EINVAL)
		}
		f.stopped = false
		go f.receive(f.conn)
	case ueventSetParam:
		if f.conn == nil || payload[len(payload)-1] != 0 || int(ev.u32(offU+12)) != len(payload) {
			return fail(unix.ENOTCONN)
		}
		f.params[ev.u32(offU+8)] = string(payload[:len(payload)-1])
	case ueventSendPDU:
		if f.stopped {
			return fail(unix.ENOTCONN)
		}
		p := PDU{Header: Header(payload), Data: payload[headerLen:]}
		p.Header.SetUint32(16, 0x70000000) // The kernel uses tags of its own.
		if int(ev.u32(offU+8)) != headerLen || int(ev.u32(offU+12)) != len(p.Data) || p.Header.DataLen() != len(p.Data) {
			return fail(unix.EINVAL)
		}
		if _, err := f.conn.Write(p.Append(nil)); err != nil {
			return fail(unix.EPIPE)
		}
	case ueventStartConn:
		f.State("LOGGED_IN")
	case ueventStopConn:
		f.stopped = true
		if f.conn != nil {
			f.conn.Close()
		}
	case ueventUnbindSession:
		if !f.Mute {
			f.event(keventUnbindSession, 5, 2)
		}
	}
	return answer, nil
}

func (f *FakeKernel) receive(c net.Conn) {
	for {
		p, err := ReadPDU(c, 1<<20)
		if err != nil {
			return
		}
		f.Deliver(p)
	}
}

// NewUnit is a LogicalUnit on a connection that has logged in.
func NewUnit(ctx context.Context, c net.Conn, t Target) (*LogicalUnit, error) {
	t, err := t.complete()
	return &LogicalUnit{ctx: ctx, conn: &conn{c: c}, target: &t, params: Params{MaxRecv: declaredRecv, MaxXmit: 512, FirstBurst: 512}, cmdSN: 1}, err
}

// Runs is runs.
func Runs(name string) bool { return runs(name) }
