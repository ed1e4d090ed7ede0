package iscsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"unsafe"
)

// The structs of include/scsi/iscsi_if.h, for their offsets. Go lays them out
// as the C compiler for amd64 does.
type (
	cUevent struct {
		Type, Iferror   uint32
		TransportHandle uint64
		U               [3]uint64 // the largest are b_conn and stop_conn
		R               [2]uint64 // the largest is recv_req
	}
	cCreateSession struct {
		InitialCmdsn        uint32
		CmdsMax, QueueDepth uint16
	}
	cBindConn struct {
		Sid, Cid     uint32
		TransportEph uint64
		IsLeading    uint32
	}
	cStopConn struct {
		Sid, Cid   uint32
		ConnHandle uint64
		Flag       uint32
	}
	cSetParam struct{ Sid, Cid, Param, Len uint32 }
	cRecvReq  struct {
		Sid, Cid   uint32
		RecvHandle uint64
	}
	cConnError struct{ Sid, Cid, Error uint32 }
)

func TestLayout(t *testing.T) {
	var u cUevent
	var s cSetParam
	var e cConnError
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"sizeof", unsafe.Sizeof(u), ueventLen}, {"type", unsafe.Offsetof(u.Type), offType}, {"iferror", unsafe.Offsetof(u.Iferror), offError},
		{"handle", unsafe.Offsetof(u.TransportHandle), offHandle}, {"u", unsafe.Offsetof(u.U), offU}, {"r", unsafe.Offsetof(u.R), offR},
		{"bind_conn", unsafe.Sizeof(cBindConn{}), 24}, {"stop_conn", unsafe.Sizeof(cStopConn{}), 24}, {"recv_req", unsafe.Sizeof(cRecvReq{}), 16},
		{"set_param.len", unsafe.Offsetof(s.Len), 12}, {"connerror.error", unsafe.Offsetof(e.Error), 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("%s is at %d, want %d", tt.name, tt.got, tt.want)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	wire := func(v any) []byte {
		b, err := binary.Append(nil, binary.NativeEndian, v)
		if err != nil {
			t.Fatal(err)
		}
		return append(b, make([]byte, 24-len(b))...)
	}
	for _, tt := range []struct {
		name string
		got  uevent
		want any
	}{
		{"create session", createSession(1, 128, 32), cCreateSession{1, 128, 32}},
		{"bind", bindConn(3, 0, 9), cBindConn{3, 0, 9, 1}},
		{"stop", stopConn(3, 0, stopRecover), cStopConn{3, 0, 0, 3}},
		{"set param", plain(3, 0, 17, 5), cSetParam{3, 0, 17, 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if u := tt.got[offU:offR]; !bytes.Equal(u, wire(tt.want)) {
				t.Errorf("%s: got % x, want % x", tt.name, u, wire(tt.want))
			}
		})
	}
}

// kernelEvent is a message of the kernel.
func kernelEvent(kind uint32, r []uint32, payload []byte) []byte {
	var u uevent
	u.words(offType, kind)
	u.words(offR, r...)
	b := make([]byte, nlmsgLen)
	b = append(append(b, u[:]...), payload...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

func TestDispatch(t *testing.T) {
	e := newEvents()
	one, two := e.subscribe(1), e.subscribe(2)
	p := PDU{Data: []byte("abc")}
	p.Header[0] = OpAsync
	e.dispatch(append(kernelEvent(keventRecvPDU, []uint32{2, 0}, p.Append(nil)), kernelEvent(keventConnError, []uint32{1, 0, 1020}, nil)...))
	e.dispatch(kernelEvent(keventDestroySession, []uint32{7, 2}, nil))
	e.dispatch(kernelEvent(keventRecvPDU, []uint32{3, 0}, p.Append(nil))) // nobody's
	e.dispatch([]byte{255, 255, 255, 255})
	e.dispatch(nil)

	ctx := t.Context()
	if ev, err := one.next(ctx); err != nil || ev.kind != keventConnError || ev.code != 1020 {
		t.Errorf("got %+v, %v", ev, err)
	}
	if ev, err := two.next(ctx); err != nil || ev.kind != keventRecvPDU || string(ev.pdu.Data) != "abc" {
		t.Errorf("got %+v, %v", ev, err)
	}
	if ev, err := two.next(ctx); err != nil || ev.kind != keventDestroySession {
		t.Errorf("got %+v, %v", ev, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := two.next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A queue that runs over says so, and keeps what came last but one.
func TestOverflow(t *testing.T) {
	e := newEvents()
	s := e.subscribe(1)
	for range queueLen + 1 {
		e.dispatch(kernelEvent(keventConnError, []uint32{1, 0, 1011}, nil))
	}
	lost := 0
	for len(s.queue) > 0 {
		if ev, _ := s.next(t.Context()); ev.kind == 0 {
			lost++
		}
	}
	if lost != 1 {
		t.Errorf("%d notes of loss", lost)
	}
	e.lost()
	if ev, err := s.next(t.Context()); err != nil || ev.kind != 0 {
		t.Errorf("got %+v, %v", ev, err)
	}
}

func TestKernelErrors(t *testing.T) {
	k := &Kernel{link: linkFunc(func(uint16, uevent, []byte) (uevent, error) {
		var answer uevent
		answer.words(offType, keventIfError, 0xffffffea) // -EINVAL
		return answer, nil
	})}
	_, err := k.call("do it", ueventStopConn, uevent{}, nil)
	var kernel *KernelError
	if !errors.As(err, &kernel) || err.Error() != "iscsi: kernel: do it: invalid argument" {
		t.Errorf("got %v", err)
	}
}

type linkFunc func(uint16, uevent, []byte) (uevent, error)

func (f linkFunc) call(kind uint16, ev uevent, payload []byte) (uevent, error) {
	return f(kind, ev, payload)
}
func (f linkFunc) Close() error { return nil }
