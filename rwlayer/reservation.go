package rwlayer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
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
	text := fmt.Sprintf("the volume is held by another node under %s (this node's is %s): two nodes must not share a volume; look for a node with the same address or the same target",
		holder, e.Own)
	if e.Holder != 0 {
		text += ", and if it is gone for good, boot this one once with sidus.rw.takeover=" + e.Holder.String()
	}
	return text
}

// ErrNoReservations says that the device has no persistent reservations.
var ErrNoReservations = errors.New("the target has no persistent reservations: nothing keeps a second node from this volume")

// ErrUnsaved says that the target has registered the node's key but will forget
// it when it is restarted.
var ErrUnsaved = errors.New("the target cannot write down who holds the volume, and forgets it when it is restarted: on LIO make a directory pr where it keeps its own files (/etc/target, /etc/rtslib-fb-target or /var/target)")

// A reserver is the part of a device that reservations need.
type reserver interface {
	// keys are those that are registered, by whomever.
	keys() ([]Key, error)
	// register gives this node's key to the device, whatever it had before.
	// lasting says that the target keeps it over its own restart. With
	// ErrUnsaved it is registered too.
	register(key Key) (lasting bool, err error)
	// unregister takes this node's key back.
	unregister() error
	// reserve asks for the reservation; errConflict if another holds it.
	reserve(key Key) error
	// holder is the key of the reservation, zero where there is none.
	holder() (Key, error)
	// preempt ends all registrations of old and takes over what they have
	// reserved.
	preempt(old, key Key) error
}

var (
	errConflict = errors.New("reservation conflict")
	errNotReady = errors.New("the target says that it is not ready")
)

// Reserve makes the device this node's own: others may read it, but neither
// write it nor reserve it. After a crash the node gets it back by its key. A
// device that another node has, by a reservation or by a registered key, is a
// *HeldError, unless that key is takeover: then it is taken from there. One
// that has no reservations is ErrNoReservations, one that is held until the
// target restarts ErrUnsaved.
//
// A target that does not keep registrations over its own restart gets the key
// only, and no reservation: such a one (tgt 1.0.85) takes the same node for
// another after each new login, and its own writes would fail with a conflict.
// The key alone keeps other nodes of ours away.
func Reserve(f *os.File, key, takeover Key) error { return reserve(prDevice{f}, key, takeover) }

func reserve(d reserver, key, takeover Key) error {
	keys, err := d.keys()
	if err != nil {
		return err
	}
	other, held := otherKey(keys, key)
	if held && other != takeover {
		return &HeldError{Holder: other, Own: key}
	}
	lasting, unsaved := d.register(key)
	if unsaved != nil && !errors.Is(unsaved, ErrUnsaved) {
		return unsaved
	}
	if held {
		if err := d.preempt(takeover, key); err != nil {
			return fmt.Errorf("take the volume over from key %s: %w", takeover, err)
		}
	}
	// Two nodes that come at once find it free, both. The later one sees the
	// other's key now, or both do, and go.
	if keys, err = d.keys(); err != nil {
		return err
	}
	if other, held := otherKey(keys, key); held {
		err := error(&HeldError{Holder: other, Own: key})
		if gone := d.unregister(); gone != nil {
			err = errors.Join(err, gone)
		}
		return err
	}
	if !lasting {
		return unsaved
	}
	err = d.reserve(key)
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

// otherKey is one of the keys that is not the node's own.
func otherKey(keys []Key, own Key) (other Key, found bool) {
	for _, k := range keys {
		if k != own {
			return k, true
		}
	}
	return 0, false
}

// A prDevice is a SCSI disk. The commands go by SG_IO and not by the ioctls of
// linux/pr.h: those always ask the target to keep registrations over its own
// restart (APTPL, sd_pr_register in drivers/scsi/sd.c), which tgt refuses, and
// cannot read a reservation on most kernels.
type prDevice struct{ *os.File }

// Service actions of PERSISTENT RESERVE OUT and IN (SPC-4, 6.15 and 6.16).
const (
	prOut               = 0x5f
	prIn                = 0x5e
	outReserve          = 0x01
	outPreempt          = 0x04
	outRegisterIgnore   = 0x06 // REGISTER AND IGNORE EXISTING KEY
	inReadKeys          = 0x00
	inReadReservation   = 0x01
	writeExclusive      = 0x01
	parameterBytes      = 24
	activatePersistence = 1 // APTPL, in byte 20 of the parameters
)

func (d prDevice) register(key Key) (lasting bool, err error) {
	err = d.out("register a key", outRegisterIgnore, 0, key, activatePersistence)
	switch {
	case errors.Is(err, ErrNoReservations):
		return false, d.out("register a key", outRegisterIgnore, 0, key, 0)
	case errors.Is(err, errNotReady):
		// LIO says so when it has registered the key but could not write it to
		// its file (core_scsi3_update_and_write_aptpl).
		keys, readErr := d.keys()
		if readErr == nil && slices.Contains(keys, key) {
			return false, ErrUnsaved
		}
		return false, errors.Join(err, readErr)
	}
	return err == nil, err
}

func (d prDevice) unregister() error {
	err := d.out("take the key back", outRegisterIgnore, 0, 0, 0)
	if errors.Is(err, errNotReady) {
		return nil // As above.
	}
	return err
}

// maxKeys is how many registrations are looked at: one too many is enough.
const maxKeys = 64

func (d prDevice) keys() ([]Key, error) {
	var data [8 + 8*maxKeys]byte
	cdb := [10]byte{0: prIn, 1: inReadKeys, 7: byte(len(data) >> 8), 8: byte(len(data) & 0xff)}
	if err := d.scsi(cdb[:], data[:], sgFromDevice); err != nil {
		return nil, fmt.Errorf("read the registered keys: %w", err)
	}
	length := min(int(binary.BigEndian.Uint32(data[4:])), 8*maxKeys)
	var all []Key
	for i := 8; i+8 <= 8+length; i += 8 {
		all = append(all, Key(binary.BigEndian.Uint64(data[i:])))
	}
	return all, nil
}

func (d prDevice) reserve(key Key) error {
	return d.out("reserve", outReserve, key, 0, 0)
}

func (d prDevice) preempt(old, key Key) error {
	return d.out("preempt", outPreempt, key, old, 0)
}

func (d prDevice) out(what string, action byte, key, serviceKey Key, flags byte) error {
	cdb := [10]byte{0: prOut, 1: action, 2: writeExclusive, 8: parameterBytes}
	var p [parameterBytes]byte
	binary.BigEndian.PutUint64(p[0:], uint64(key))
	binary.BigEndian.PutUint64(p[8:], uint64(serviceKey))
	p[20] = flags
	if err := d.scsi(cdb[:], p[:], sgToDevice); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (d prDevice) holder() (Key, error) {
	var data [24]byte
	cdb := [10]byte{0: prIn, 1: inReadReservation, 8: byte(len(data))}
	if err := d.scsi(cdb[:], data[:], sgFromDevice); err != nil {
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
	sgToDevice    = -2
	sgFromDevice  = -3
	sgTimeoutMsec = 10000
)

// What a target answers (SAM-5, 5.3.1; SPC-4, 4.5.6).
const (
	statusGood           = 0x00
	statusCheckCondition = 0x02
	statusConflict       = 0x18
	senseUnitAttention   = 0x06
	senseNotReady        = 0x02
	senseIllegalRequest  = 0x05
)

// scsi carries out one command. A unit attention is the target's news of
// something that happened before, and asked for once more.
func (d prDevice) scsi(cdb, data []byte, direction int32) error {
	for range 3 {
		status, sense, err := d.sgIO(cdb, data, direction)
		switch {
		case err != nil:
			return err
		case status == statusGood:
			return nil
		case status == statusConflict:
			return errConflict
		case status == statusCheckCondition && sense == senseUnitAttention:
			continue
		case status == statusCheckCondition && sense == senseNotReady:
			return errNotReady
		case status == statusCheckCondition && sense == senseIllegalRequest:
			return ErrNoReservations
		}
		return fmt.Errorf("SCSI status %#x, sense key %#x", status, sense)
	}
	return errors.New("one unit attention after the other")
}

func (d prDevice) sgIO(cdb, data []byte, direction int32) (status, senseKey byte, err error) {
	var sense [32]byte
	h := sgIOHeader{
		interfaceID: 'S', direction: direction, cmdLen: uint8(len(cdb)), senseLen: uint8(len(sense)),
		dataLen: uint32(len(data)), data: unsafe.Pointer(&data[0]), cmd: unsafe.Pointer(&cdb[0]),
		sense: unsafe.Pointer(&sense[0]), timeout: sgTimeoutMsec,
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), sgIO, uintptr(unsafe.Pointer(&h)))
	switch {
	case errno == unix.ENOTTY, errno == unix.EINVAL, errno == unix.EOPNOTSUPP:
		return 0, 0, fmt.Errorf("%w (it is no SCSI disk: %w)", ErrNoReservations, errno)
	case errno != 0:
		return 0, 0, errno
	case h.hostStatus != 0:
		return 0, 0, fmt.Errorf("host status %#x", h.hostStatus)
	}
	// Fixed format 70h or 71h has the key in byte 2, descriptor format in byte 1.
	senseKey = sense[2] & 0xf
	if sense[0]&0x7f >= 0x72 {
		senseKey = sense[1] & 0xf
	}
	return h.status, senseKey, nil
}
