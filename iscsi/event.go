package iscsi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// An event is what the kernel tells about one session.
type event struct {
	kind uint32 // keventRecvPDU and so on; zero: events were lost
	pdu  PDU
	code uint32 // of keventConnError: enum iscsi_err
}

// ErrEventsLost says that the kernel's events are not read any more: the
// Kernel, and every Session that it made, cannot be used again.
var ErrEventsLost = errors.New("iscsi: events of the kernel can no longer be received")

// queueLen is how many events a session may leave unread. A login in progress
// has one at most.
const queueLen = 64

// A subscription receives the events of one session.
type subscription struct {
	queue chan event
	gone  <-chan struct{}
	why   func() error
}

// next waits for an event.
func (s *subscription) next(ctx context.Context) (event, error) {
	select {
	case ev := <-s.queue:
		return ev, nil
	default:
	}
	select {
	case ev := <-s.queue:
		return ev, nil
	case <-s.gone:
		return event{}, s.why()
	case <-ctx.Done():
		return event{}, ctx.Err()
	}
}

// drain forgets what the last connection left behind.
func (s *subscription) drain() {
	for len(s.queue) > 0 {
		<-s.queue
	}
}

// put never waits. What does not fit makes room by a note that something is
// missing.
func (s *subscription) put(ev event) {
	for {
		select {
		case s.queue <- ev:
			return
		default:
		}
		ev = event{}
		select {
		case <-s.queue:
		default:
		}
	}
}

// events reads group 1 of NETLINK_ISCSI. Somebody has to: with no listener the
// kernel turns a PDU for user space into a connection error (iscsi_recv_pdu).
type events struct {
	file *os.File // nil in tests
	gone chan struct{}

	mu   sync.Mutex
	subs map[uint32]*subscription
	err  error
}

func newEvents() *events {
	return &events{gone: make(chan struct{}), subs: make(map[uint32]*subscription)}
}

func listen() (*events, error) {
	fd, err := openSocket(1 << (groupIscsi - 1))
	if err != nil {
		return nil, err
	}
	// Room for a burst; the default will do where this is not allowed.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, &KernelError{Op: "listen", Err: err}
	}
	e := newEvents()
	e.file = os.NewFile(uintptr(fd), "NETLINK_ISCSI")
	go e.readAll()
	return e, nil
}

// Close ends the reader and waits for it.
func (e *events) Close() error {
	if e.file == nil {
		return nil
	}
	err := e.file.Close()
	<-e.gone
	return err
}

// readAll is the goroutine of listen; Close owns it.
func (e *events) readAll() {
	var err error
	defer close(e.gone)
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.err = err
	}()
	defer panics.Recover(&err)
	raw, err := e.file.SyscallConn()
	if err != nil {
		return
	}
	buffer := make([]byte, 32<<10)
	for {
		var size int
		var from unix.Sockaddr
		var got error
		err = raw.Read(func(fd uintptr) bool {
			size, from, got = unix.Recvfrom(int(fd), buffer, unix.MSG_DONTWAIT)
			return !errors.Is(got, unix.EAGAIN)
		})
		switch {
		case err != nil:
			return
		case errors.Is(got, unix.ENOBUFS): // Events were dropped, the socket goes on.
			e.lost()
		case errors.Is(got, unix.EINTR):
		case got != nil:
			err = &KernelError{Op: "read events", Err: got}
			return
		case fromKernel(from):
			e.dispatch(buffer[:size])
		}
	}
}

func (e *events) why() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return fmt.Errorf("%w: %w", ErrEventsLost, e.err)
	}
	return fmt.Errorf("%w: %w", ErrEventsLost, &KernelError{Op: "read events", Err: os.ErrClosed})
}

// lost tells everybody that something is missing.
func (e *events) lost() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.subs {
		s.put(event{})
	}
}

func (e *events) subscribe(sid uint32) *subscription {
	s := &subscription{queue: make(chan event, queueLen), gone: e.gone, why: e.why}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subs[sid] = s
	return s
}

func (e *events) unsubscribe(sid uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.subs, sid)
}

// dispatch hands the messages of one datagram to their sessions.
func (e *events) dispatch(b []byte) {
	for len(b) >= nlmsgLen {
		size := int(binary.NativeEndian.Uint32(b))
		if size < nlmsgLen || size > len(b) {
			return
		}
		if sid, ev, ok := parseEvent(b[nlmsgLen:size]); ok {
			e.mu.Lock()
			if s := e.subs[sid]; s != nil {
				s.put(ev)
			}
			e.mu.Unlock()
		}
		b = b[min(len(b), (size+3)&^3):]
	}
}

// parseEvent reads one event and copies what it keeps.
func parseEvent(b []byte) (sid uint32, ev event, ok bool) {
	if len(b) < ueventLen {
		return 0, event{}, false
	}
	u, rest := uevent(b[:ueventLen]), b[ueventLen:]
	ev.kind = u.kind()
	sid = u.u32(offR)
	switch ev.kind {
	case keventRecvPDU:
		// The header as it came, then the data without padding; the length of
		// the netlink message is rounded up (iscsi_recv_pdu).
		if len(rest) < headerLen {
			return 0, event{}, false
		}
		ev.pdu.Header = Header(rest[:headerLen])
		n := ev.pdu.Header.DataLen()
		if n > maxLoginData || n > len(rest)-headerLen {
			return sid, event{}, true // It cannot be used, but it was there.
		}
		ev.pdu.Data = append([]byte(nil), rest[headerLen:headerLen+n]...)
	case keventConnError:
		ev.code = u.u32(offR + 8)
	case keventUnbindSession:
	case keventDestroySession:
		sid = u.u32(offR + 4) // struct msg_session_destroyed has the host first
	default:
		return 0, event{}, false
	}
	return sid, ev, true
}
