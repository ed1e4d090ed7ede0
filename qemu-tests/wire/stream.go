package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A stream is one direction of a TCP connection, put together from segments that
// may come twice or in another order.
type stream struct {
	started bool
	next    uint32
	// early are segments that came before one that is missing, by their number.
	early map[uint32][]byte
	// buffer has what is not a whole message yet.
	buffer []byte
	// message has the fragments of a message of RPC that is not whole yet.
	message []byte
}

// maxEarly bounds what is kept while a segment is missing.
const maxEarly = 4096

// errLost says that the capture has not all of a connection.
var errLost = errors.New("the capture has lost packets")

// add takes a segment and calls message with each message of RPC that it
// completes (RFC 5531, section 11).
func (s *stream) add(seg segment, message func([]byte) error) error {
	if seg.syn {
		*s = stream{started: true, next: seg.seq + 1, early: map[uint32][]byte{}}
		return nil
	}
	if !s.started || len(seg.payload) == 0 {
		return nil
	}
	seq, data := seg.seq, seg.payload
	for {
		switch ahead := int32(seq - s.next); {
		case ahead > 0:
			if len(s.early) == maxEarly {
				return fmt.Errorf("%w: %d bytes are missing", errLost, ahead)
			}
			s.early[seq] = data
			return nil
		case int(-ahead) < len(data):
			s.buffer = append(s.buffer, data[-ahead:]...)
			s.next += uint32(len(data) + int(ahead))
		}
		if err := s.messages(message); err != nil {
			return err
		}
		var ok bool
		if seq, data, ok = s.takeEarly(); !ok {
			return nil
		}
	}
}

// takeEarly takes a segment out of early that is not ahead any more.
func (s *stream) takeEarly() (seq uint32, data []byte, ok bool) {
	for seq, data := range s.early {
		if int32(seq-s.next) <= 0 {
			delete(s.early, seq)
			return seq, data, true
		}
	}
	return 0, nil, false
}

// Of a record mark: the last fragment of a message, and a fragment's length.
const (
	lastFragment   = 1 << 31
	fragmentLength = lastFragment - 1
	// maxMessage is more than an NFS server and its clients agree on.
	maxMessage = 4 << 20
)

func (s *stream) messages(message func([]byte) error) error {
	for len(s.buffer) >= 4 {
		mark := binary.BigEndian.Uint32(s.buffer)
		length := int(mark & fragmentLength)
		if length > maxMessage || len(s.message) > maxMessage {
			return fmt.Errorf("a message of RPC has %d bytes", length)
		}
		if len(s.buffer) < 4+length {
			return nil
		}
		s.message = append(s.message, s.buffer[4:4+length]...)
		s.buffer = s.buffer[4+length:]
		if mark&lastFragment == 0 {
			continue
		}
		whole := s.message
		s.message = nil
		if err := message(whole); err != nil {
			return err
		}
	}
	return nil
}

// gap tells whether something is missing at the end.
func (s *stream) gap() bool { return len(s.early) > 0 }
