package iscsi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A Kernel is the way to the kernel's iscsi_tcp: one socket for requests, one
// for events, and sysfs. It may be used by several goroutines.
type Kernel struct {
	root   string
	handle uint64
	link   link
	events *events
}

// A link carries one request to the kernel and brings its answer.
type link interface {
	call(kind uint16, ev uevent, payload []byte) (uevent, error)
	Close() error
}

// Open needs the kernel's modules loaded and CAP_SYS_ADMIN in the first network
// namespace: NETLINK_ISCSI exists nowhere else. Root is "/", or where a test has
// its sys and dev.
func Open(root string) (*Kernel, error) {
	text, err := os.ReadFile(filepath.Join(root, "sys/class/iscsi_transport/tcp/handle"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &KernelError{Op: "find the transport", Err: fmt.Errorf("%w: is the module iscsi_tcp loaded?", err)}
	}
	if err != nil {
		return nil, &KernelError{Op: "find the transport", Err: err}
	}
	handle, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return nil, &KernelError{Op: "find the transport", Err: err}
	}
	requests, err := openLink()
	if err != nil {
		return nil, err
	}
	events, err := listen()
	if err != nil {
		requests.Close()
		return nil, err
	}
	return &Kernel{root: root, handle: handle, link: requests, events: events}, nil
}

// Close leaves the sessions as they are.
func (k *Kernel) Close() error {
	return errors.Join(k.link.Close(), k.events.Close())
}

// call sends one request to the transport.
func (k *Kernel) call(op string, kind uint16, ev uevent, payload []byte) (uevent, error) {
	ev.words(offType, uint32(kind))
	ev.u64(offHandle, k.handle)
	answer, err := k.link.call(kind, ev, payload)
	if err != nil {
		return uevent{}, &KernelError{Op: op, Err: err}
	}
	if answer.kind() == keventIfError {
		return uevent{}, &KernelError{Op: op, Err: errno(answer.u32(offError))}
	}
	switch kind {
	case ueventBindConn, ueventStartConn, ueventSendPDU: // These answer in r.retcode.
		if code := answer.u32(offR); code != 0 {
			return uevent{}, &KernelError{Op: op, Err: errno(code)}
		}
	}
	return answer, nil
}

// errno makes an error of a negative number.
func errno(code uint32) error {
	if n := int32(code); n < 0 {
		return unix.Errno(-n)
	}
	return fmt.Errorf("kernel code %d", code)
}

func (k *Kernel) setParam(sid uint32, p param, text string) error {
	// The kernel reads a C string of at most the given length (iscsi_if_set_param).
	data := append([]byte(text), 0)
	_, err := k.call("set parameter "+strconv.Itoa(int(p)), ueventSetParam, plain(sid, 0, uint32(p), uint32(len(data))), data)
	return err
}

func (k *Kernel) sendPDU(sid uint32, p *PDU) error {
	h := p.Header
	h.SetUint32(4, uint32(len(p.Data)))
	_, err := k.call("send a PDU", ueventSendPDU, plain(sid, 0, headerLen, uint32(len(p.Data))), append(h[:], p.Data...))
	return err
}

// A KernelError says what the kernel refused.
type KernelError struct {
	Op  string
	Err error
}

func (e *KernelError) Error() string {
	text := "iscsi: kernel: " + e.Op + ": " + e.Err.Error()
	switch {
	case errors.Is(e.Err, unix.EPROTONOSUPPORT):
		text += ": the module scsi_transport_iscsi is not loaded, or this is not the first network namespace"
	case errors.Is(e.Err, unix.EPERM):
		text += ": it needs CAP_SYS_ADMIN"
	case errors.Is(e.Err, unix.ENOMEM) && e.Op == opCreateConn:
		text += ": is a module loaded that provides crc32c (crc32c_generic, crc32c_intel)?"
	}
	return text
}

func (e *KernelError) Unwrap() error { return e.Err }

const (
	opCreateSession = "create a session"
	opCreateConn    = "create a connection"
	opBind          = "bind the connection"
)

// netlink is the link to the real kernel.
type netlink struct {
	mu sync.Mutex
	fd int
}

func openLink() (*netlink, error) {
	fd, err := openSocket(0)
	if err != nil {
		return nil, err
	}
	// The kernel answers before it returns from send; the limit is for what
	// must never happen.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		unix.Close(fd)
		return nil, &KernelError{Op: "open a socket", Err: err}
	}
	return &netlink{fd: fd}, nil
}

// openSocket opens a socket that listens to the groups of a bit mask.
func openSocket(groups uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ISCSI)
	if err != nil {
		return -1, &KernelError{Op: "open a socket", Err: err}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return -1, &KernelError{Op: "bind a socket", Err: err}
	}
	return fd, nil
}

func (n *netlink) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return unix.Close(n.fd)
}

func (n *netlink) call(kind uint16, ev uevent, payload []byte) (uevent, error) {
	message := make([]byte, nlmsgLen, nlmsgLen+ueventLen+len(payload))
	message = append(append(message, ev[:]...), payload...)
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], kind)

	n.mu.Lock()
	defer n.mu.Unlock()
	if err := retry(func() error {
		return unix.Sendto(n.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}); err != nil {
		return uevent{}, err
	}
	buffer := make([]byte, 4096)
	for {
		var size int
		var from unix.Sockaddr
		if err := retry(func() (err error) {
			size, from, err = unix.Recvfrom(n.fd, buffer, 0)
			return err
		}); err != nil {
			return uevent{}, err
		}
		if size < nlmsgLen+ueventLen || !fromKernel(from) || binary.NativeEndian.Uint16(buffer[4:]) != kind {
			continue
		}
		return uevent(buffer[nlmsgLen : nlmsgLen+ueventLen]), nil
	}
}

// fromKernel keeps out what another process sends to our socket.
func fromKernel(from unix.Sockaddr) bool {
	sender, ok := from.(*unix.SockaddrNetlink)
	return ok && sender.Pid == 0
}

func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
