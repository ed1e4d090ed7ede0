package rwlayer

import (
	"errors"
	"fmt"
)

// What a target answers (SAM-5, 5.3.1; SPC-4, 4.5.6 and annex E.2).
const (
	statusGood           = 0x00
	statusCheckCondition = 0x02
	statusBusy           = 0x08
	statusConflict       = 0x18
	statusTaskSetFull    = 0x28
	statusTaskAborted    = 0x40

	senseNotReady       = 0x02
	senseIllegalRequest = 0x05
	senseUnitAttention  = 0x06
	senseAborted        = 0x0b

	ascCommunication = 0x08 // LOGICAL UNIT COMMUNICATION FAILURE
	ascOpcode        = 0x20 // INVALID COMMAND OPERATION CODE
	ascField         = 0x24 // INVALID FIELD IN CDB
	ascNoUnit        = 0x25 // LOGICAL UNIT NOT SUPPORTED
	ascParameter     = 0x26 // INVALID FIELD IN PARAMETER LIST
	ascNoRoom        = 0x55 // 04: INSUFFICIENT REGISTRATION RESOURCES
)

var errConflict = errors.New("reservation conflict")

// A retryableError is one that the target may not have a moment later.
type retryableError struct{ err error }

func (e *retryableError) Error() string { return e.err.Error() }
func (e *retryableError) Unwrap() error { return e.err }

// A senseError is the target's own description of what went wrong.
type senseError struct{ key, asc, ascq byte }

func (e *senseError) Error() string {
	text := fmt.Sprintf("sense key %#x, %02x/%02x", e.key, e.asc, e.ascq)
	switch {
	case e.key == senseIllegalRequest && e.asc == ascNoUnit:
		return text + ": the target has no such logical unit any more"
	case e.key == senseIllegalRequest && e.asc == ascNoRoom && e.ascq == 4:
		return text + ": the target cannot store another registration: remove those of nodes that no longer exist"
	case e.key == senseNotReady:
		return text + ": the target is not ready"
	}
	return text
}

// Is tells commands that the target does not know from other illegal requests.
func (e *senseError) Is(target error) bool {
	return target == ErrNoReservations && e.key == senseIllegalRequest && e.asc == ascOpcode
}

// asUnsupported makes ErrNoReservations of a target's refusal of the plainest form of
// a command: it knows that command for other purposes, and this one not at all.
func asUnsupported(err error) error {
	var sense *senseError
	if errors.As(err, &sense) && sense.key == senseIllegalRequest && sense.refusesField() {
		return fmt.Errorf("%w: %w", ErrNoReservations, err)
	}
	return err
}

// refusesField: the command is known, but not everything in it.
func (e *senseError) refusesField() bool { return e.asc == ascField || e.asc == ascParameter }

// unsaved is what LIO answers when it has done what it was asked for and could
// not write that to its file (core_scsi3_update_and_write_aptpl).
func (e *senseError) notPersistent() bool { return e.key == senseNotReady && e.asc == ascCommunication }

// answerError makes an error of a target's answer.
func answerError(status byte, sense []byte) error {
	switch status {
	case statusGood:
		return nil
	case statusConflict:
		return errConflict
	case statusBusy:
		return &retryableError{errors.New("the target is busy (SCSI status 0x08)")}
	case statusTaskSetFull:
		return &retryableError{errors.New("the command queue of the target is full (SCSI status 0x28)")}
	case statusTaskAborted:
		return &retryableError{errors.New("another node has aborted the command (SCSI status 0x40)")}
	case statusCheckCondition:
		e := parseSense(sense)
		later := e.key == senseUnitAttention || e.key == senseAborted || e.key == senseNotReady && !e.notPersistent()
		if later {
			return &retryableError{e}
		}
		return e
	}
	return fmt.Errorf("SCSI status %#x", status)
}

// parseSense reads fixed and descriptor format (SPC-4, 4.5).
func parseSense(b []byte) *senseError {
	at := func(i int) byte {
		if i < len(b) {
			return b[i]
		}
		return 0
	}
	if at(0)&0x7f >= 0x72 {
		return &senseError{at(1) & 0xf, at(2), at(3)}
	}
	return &senseError{at(2) & 0xf, at(12), at(13)}
}
