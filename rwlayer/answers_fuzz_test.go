package rwlayer

import (
	"errors"
	"testing"
	"time"
)

// A liar answers every command with the same bytes.
type liar struct {
	status byte
	sense  []byte
	data   []byte
}

func (l liar) Execute(_, data []byte, write bool) (byte, []byte, error) {
	if !write {
		copy(data, l.data)
	}
	return l.status, l.sense, nil
}

// FuzzAnswers is what a target may say. Nothing of it may end the program, and
// a node that sees another node's key is refused.
func FuzzAnswers(f *testing.F) {
	f.Add(byte(0), []byte{}, []byte{0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x22, 0x22})
	f.Add(byte(2), []byte{0x70, 0, 5, 12: 0x24, 13: 0}, []byte{})
	f.Add(byte(2), []byte{0x72, 6}, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, status byte, sense, data []byte) {
		c := liar{status, sense, data}
		d := prDevice{commands: c, timeout: time.Nanosecond}
		keys, err := d.keys()
		other, found := otherKey(keys, one, 0)
		var held *HeldError
		if got := reserve(d, one, 0); err == nil && found && (!errors.As(got, &held) || held.Holder != other) {
			t.Fatalf("another's key %v is there: %v", other, got)
		}
		_, _ = askStamp(d)
		_ = hold(d, one)
		_ = release(d, one)
	})
}
