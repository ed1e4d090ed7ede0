package rwlayer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Key is a node's own reservation key (SPC-4, 5.12). It is never zero.
type Key uint64

func (k Key) String() string { return fmt.Sprintf("%#016x", uint64(k)) }

// A HeldError says that another node holds the volume.
type HeldError struct {
	// Holder is the other's key, zero where the target does not tell.
	Holder Key
	Own    Key
}

func (e *HeldError) Error() string {
	holder := "an unknown key"
	if e.Holder != 0 {
		holder = "key " + e.Holder.String()
	}
	return fmt.Sprintf("the volume is held by another node under %s (this node's is %s): two nodes must not share a volume; look for a node with the same address or the same target, and if it is gone for good, release the reservation (sg_persist --out --clear --param-rk=KEY)",
		holder, e.Own)
}

// ErrNoReservations says that the device has no persistent reservations.
var ErrNoReservations = errors.New("the target has no persistent reservations: nothing keeps a second node from this volume")

// A reserver is the part of a device that reservations need.
type reserver interface {
	// register gives this node's key to the device, whatever it had before.
	register(key Key) error
	// reserve asks for the reservation; errConflict if another holds it.
	reserve(key Key) error
	// holder is the key of the reservation, zero where there is none.
	holder() (Key, error)
	// preempt takes the reservation from a registration of old.
	preempt(old, key Key) error
}

var errConflict = errors.New("reservation conflict")

// Reserve makes the device this node's own: others may read it, but neither
// write it nor reserve it. After a crash the node gets it back by its key. A
// device that another node holds is a *HeldError, one that cannot be reserved
// is ErrNoReservations.
func Reserve(f *os.File, key Key) error { return reserve(prDevice{f}, key) }

func reserve(d reserver, key Key) error {
	if err := d.register(key); err != nil {
		return err
	}
	err := d.reserve(key)
	if !errors.Is(err, errConflict) {
		return err
	}
	holder, err := d.holder()
	if err != nil {
		return errors.Join(&HeldError{Own: key}, err)
	}
	if holder != key {
		return &HeldError{Holder: holder, Own: key}
	}
	// Our own, from before a crash, by a session that is gone.
	if err := d.preempt(key, key); err != nil {
		return fmt.Errorf("take the own reservation back: %w", err)
	}
	return nil
}

// A prDevice is a block device with the kernel's ioctls (linux/pr.h).
type prDevice struct{ *os.File }

// Requests of linux/pr.h, as _IOW('p', nr, struct) on amd64 and arm64.
const (
	iocPRRegister = 0x401870c8
	iocPRReserve  = 0x401070c9
	iocPRPreempt  = 0x401870cb
)

const (
	prIgnoreKey      = 1 // PR_FL_IGNORE_KEY
	prWriteExclusive = 1 // PR_WRITE_EXCLUSIVE
	// samConflict is SAM_STAT_RESERVATION_CONFLICT, which the ioctls return
	// as their value.
	samConflict = 0x18
)

func (d prDevice) register(key Key) error {
	var r [24]byte // struct pr_registration
	binary.NativeEndian.PutUint64(r[8:], uint64(key))
	binary.NativeEndian.PutUint32(r[16:], prIgnoreKey)
	return d.control("register a key", iocPRRegister, r[:])
}

func (d prDevice) reserve(key Key) error {
	var r [16]byte // struct pr_reservation
	binary.NativeEndian.PutUint64(r[0:], uint64(key))
	binary.NativeEndian.PutUint32(r[8:], prWriteExclusive)
	return d.control("reserve", iocPRReserve, r[:])
}

func (d prDevice) preempt(old, key Key) error {
	var r [24]byte // struct pr_preempt
	binary.NativeEndian.PutUint64(r[0:], uint64(old))
	binary.NativeEndian.PutUint64(r[8:], uint64(key))
	binary.NativeEndian.PutUint32(r[16:], prWriteExclusive)
	return d.control("preempt", iocPRPreempt, r[:])
}

func (d prDevice) control(what string, request uintptr, arg []byte) error {
	status, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), request, uintptr(unsafe.Pointer(&arg[0])))
	switch {
	case errno == 0 && status == 0:
		return nil
	case status == samConflict:
		return fmt.Errorf("%s: %w", what, errConflict)
	case errno == unix.EOPNOTSUPP, errno == unix.ENOTTY, errno == unix.EINVAL, errno == 0:
		// A status of its own is CHECK CONDITION: the target knows no such command.
		return fmt.Errorf("%s: %w", what, ErrNoReservations)
	}
	return fmt.Errorf("%s: %w", what, errno)
}

// holder reads the reservation: PERSISTENT RESERVE IN, READ RESERVATION
// (SPC-4, 6.15.3), by SG_IO, because linux/pr.h can only write.
func (d prDevice) holder() (Key, error) {
	var data [24]byte
	cdb := [10]byte{0: 0x5e, 1: 0x01, 8: byte(len(data))}
	if err := d.scsiIn(cdb[:], data[:]); err != nil {
		return 0, fmt.Errorf("read the reservation: %w", err)
	}
	if binary.BigEndian.Uint32(data[4:]) < 16 { // Additional length: no reservation.
		return 0, nil
	}
	return Key(binary.BigEndian.Uint64(data[8:])), nil
}

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
	sgFromDevice  = -3
	sgTimeoutMsec = 10000
)

func (d prDevice) scsiIn(cdb, data []byte) error {
	var sense [32]byte
	h := sgIOHeader{
		interfaceID: 'S', direction: sgFromDevice, cmdLen: uint8(len(cdb)), senseLen: uint8(len(sense)),
		dataLen: uint32(len(data)), data: unsafe.Pointer(&data[0]), cmd: unsafe.Pointer(&cdb[0]),
		sense: unsafe.Pointer(&sense[0]), timeout: sgTimeoutMsec,
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), sgIO, uintptr(unsafe.Pointer(&h))); errno != 0 {
		return errno
	}
	if h.status != 0 || h.hostStatus != 0 {
		return fmt.Errorf("SCSI status %#x, host status %#x", h.status, h.hostStatus)
	}
	return nil
}
