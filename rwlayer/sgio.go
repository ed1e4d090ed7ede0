package rwlayer

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sgIOHeader is struct sg_io_hdr of scsi/sg.h on 64-bit machines.
type sgIOHeader struct {
	interfaceID  int32
	direction    int32
	cmdLen       uint8
	senseLen     uint8
	iovecCount   uint16
	dataLen      uint32
	data         unsafe.Pointer
	cmd          unsafe.Pointer
	sense        unsafe.Pointer
	timeout      uint32
	flags        uint32
	packID       int32
	_            [4]byte
	userPtr      unsafe.Pointer
	status       uint8
	maskedStatus uint8
	msgStatus    uint8
	senseWritten uint8
	hostStatus   uint16
	driverStatus uint16
	residual     int32
	duration     uint32
	info         uint32
	_            [4]byte
}

const (
	sgIO          = 0x2285
	sgToDevice    = -2
	sgFromDevice  = -3
	sgTimeoutMsec = 10000
)

// An sgDevice sends commands to a block device of this kernel by SG_IO.
type sgDevice struct{ *os.File }

// Host statuses (include/scsi/scsi_status.h) that a second try does not change.
var finalHost = map[uint16]string{
	0x01: "no connection", 0x04: "no such target", 0x0f: "the connection was given up",
}

func (d sgDevice) Execute(cdb, data []byte, write bool) (status byte, senseData []byte, err error) {
	var sense [32]byte
	h := sgIOHeader{
		interfaceID: 'S', direction: sgFromDevice, cmdLen: uint8(len(cdb)), senseLen: uint8(len(sense)),
		dataLen: uint32(len(data)), data: unsafe.Pointer(&data[0]), cmd: unsafe.Pointer(&cdb[0]),
		sense: unsafe.Pointer(&sense[0]), timeout: sgTimeoutMsec,
	}
	if write {
		h.direction = sgToDevice
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), sgIO, uintptr(unsafe.Pointer(&h)))
	switch {
	case errno == unix.ENOTTY, errno == unix.EINVAL, errno == unix.EOPNOTSUPP:
		return 0, nil, fmt.Errorf("%w (it is not a SCSI disk: %w)", ErrNoReservations, errno)
	case errno == unix.EINTR, errno == unix.EAGAIN, errno == unix.ENOMEM:
		return 0, nil, &retryableError{errno}
	case errno != 0:
		return 0, nil, errno
	case finalHost[h.hostStatus] != "":
		return 0, nil, fmt.Errorf("%s (host status %#x)", finalHost[h.hostStatus], h.hostStatus)
	case h.hostStatus != 0:
		return 0, nil, &retryableError{fmt.Errorf("host status %#x", h.hostStatus)}
	}
	return h.status, sense[:min(int(h.senseWritten), len(sense))], nil
}
