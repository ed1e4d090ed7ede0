package rwlayer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// A Commander carries out SCSI commands on one logical unit. An error says that
// there was no answer.
type Commander interface {
	// Execute carries out one command. Data goes to the device with write, and
	// is filled by it otherwise. It returns the status (SAM-5, 5.3.1) and the
	// sense data, if any.
	Execute(cdb, data []byte, write bool) (status byte, sense []byte, err error)
}

// A prDevice is a SCSI disk as reservations see it. The commands are our own and
// not the ioctls of linux/pr.h: those always ask the target to keep
// registrations over its own restart (APTPL, sd_pr_register in
// drivers/scsi/sd.c), which tgt refuses, and cannot read a reservation on most
// kernels.
type prDevice struct {
	commands Commander
	// timeout is how long one command is tried.
	timeout time.Duration
}

// commandTime is what a target gets for one command, all its tries together.
const commandTime = 20 * time.Second

func newDevice(c Commander) prDevice { return prDevice{commands: c, timeout: commandTime} }

func deviceOf(f *os.File) prDevice { return newDevice(sgDevice{f}) }

// Service actions of PERSISTENT RESERVE OUT and IN (SPC-4, 6.15 and 6.16).
const (
	prOut               = 0x5f
	prIn                = 0x5e
	outReserve          = 0x01
	outRelease          = 0x02
	outPreempt          = 0x04
	outPreemptAndAbort  = 0x05
	outRegisterIgnore   = 0x06 // REGISTER AND IGNORE EXISTING KEY
	inReadKeys          = 0x00
	inReadReservation   = 0x01
	writeExclusive      = 0x01
	parameterBytes      = 24
	activatePersistence = 1 // APTPL, in byte 20 of the parameters
)

// register gives this node's key to the device, whatever this session had there
// before. lasting says that the target keeps it over its own restart. With
// ErrNotPersistent it is registered too.
func (d prDevice) register(key Key) (lasting bool, err error) {
	err = d.out("register a key", outRegisterIgnore, 0, key, activatePersistence)
	var sense *senseError
	switch {
	case err == nil:
		return true, nil
	case !errors.As(err, &sense):
	case sense.key == senseIllegalRequest && sense.refusesField():
		return false, asUnsupported(d.out("register a key", outRegisterIgnore, 0, key, 0))
	case sense.notPersistent():
		keys, readErr := d.keys()
		if readErr == nil && slices.Contains(keys, key) {
			return false, ErrNotPersistent
		}
		return false, errors.Join(err, readErr)
	}
	return false, err
}

// unregister takes this session's key back. It asks for lasting registrations, as register did: without, LIO
// would forget those of other nodes as well at its next restart.
func (d prDevice) unregister() error {
	const what = "unregister a key"
	err := d.out(what, outRegisterIgnore, 0, 0, activatePersistence)
	var sense *senseError
	switch {
	case err == nil || !errors.As(err, &sense):
	case sense.key == senseIllegalRequest && sense.refusesField():
		return d.out(what, outRegisterIgnore, 0, 0, 0)
	case sense.notPersistent():
		return nil // It is done, and could not be written down.
	}
	return err
}

// firstKeys is how many registrations fit into the first answer, and maxKeys
// into the largest one.
const (
	firstKeys = 63
	maxKeys   = (1<<16 - 1 - 8) / 8
)

// keys are those that are registered, by whomever.
func (d prDevice) keys() ([]Key, error) {
	all, total, err := d.readKeys(firstKeys)
	if err == nil && total > len(all) {
		all, total, err = d.readKeys(min(total, maxKeys))
	}
	if err == nil && total > len(all) {
		err = fmt.Errorf("%d keys are registered, only %d can be read", total, len(all))
	}
	return all, err
}

// readKeys reads at most n keys, and how many there are.
func (d prDevice) readKeys(n int) (all []Key, total int, err error) {
	data := make([]byte, 8+8*n)
	cdb := [10]byte{0: prIn, 1: inReadKeys, 7: byte(len(data) >> 8), 8: byte(len(data) & 0xff)}
	if err := d.scsi(cdb[:], data, false); err != nil {
		return nil, 0, fmt.Errorf("read the registered keys: %w", asUnsupported(err))
	}
	total = int(binary.BigEndian.Uint32(data[4:])) / 8
	for i := range min(total, n) {
		all = append(all, Key(binary.BigEndian.Uint64(data[8+8*i:])))
	}
	return all, total, nil
}

// reserve asks for the reservation; errConflict if another session holds it.
func (d prDevice) reserve(key Key) error { return d.out("reserve", outReserve, key, 0, 0) }

// release ends the reservation that this session holds.
func (d prDevice) release(key Key) error {
	return d.out("end the reservation", outRelease, key, 0, 0)
}

// preempt ends all registrations of old and takes over what they have reserved.
// With abort what they have under way ends too, where the target can do that.
func (d prDevice) preempt(old, key Key, abort bool) error {
	if abort {
		err := d.out("preempt and abort", outPreemptAndAbort, key, old, 0)
		var sense *senseError
		if !errors.As(err, &sense) || sense.key != senseIllegalRequest {
			return err
		}
		// tgt does not know it.
	}
	return d.out("preempt", outPreempt, key, old, 0)
}

func (d prDevice) out(what string, action byte, key, serviceKey Key, flags byte) error {
	cdb := [10]byte{0: prOut, 1: action, 2: writeExclusive, 8: parameterBytes}
	var p [parameterBytes]byte
	binary.BigEndian.PutUint64(p[0:], uint64(key))
	binary.BigEndian.PutUint64(p[8:], uint64(serviceKey))
	p[20] = flags
	if err := d.scsi(cdb[:], p[:], true); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// holder is the key of the reservation, zero where there is none.
func (d prDevice) holder() (Key, error) {
	var data [24]byte
	cdb := [10]byte{0: prIn, 1: inReadReservation, 8: byte(len(data))}
	if err := d.scsi(cdb[:], data[:], false); err != nil {
		return 0, fmt.Errorf("read the reservation: %w", err)
	}
	if binary.BigEndian.Uint32(data[4:]) < 16 { // Additional length: no reservation.
		return 0, nil
	}
	return Key(binary.BigEndian.Uint64(data[8:])), nil
}

const (
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
)

// scsi carries out one command. What the target cannot do at this moment is
// asked for again.
func (d prDevice) scsi(cdb, data []byte, write bool) error {
	start := time.Now()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		status, sense, err := d.commands.Execute(cdb, data, write)
		if err == nil {
			err = answerError(status, sense)
		}
		var later *retryableError
		if !errors.As(err, &later) {
			return err
		}
		if waited := time.Since(start); waited+pause > d.timeout {
			return fmt.Errorf("%w, for %v", later.err, waited.Round(time.Second/10))
		}
		time.Sleep(pause)
	}
}
