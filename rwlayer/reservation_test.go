package rwlayer

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// A fakeTarget keeps a reservation; registrations belong to a session.
type fakeTarget struct {
	registered map[int]Key
	heldBy     int // session, 0: nobody
	heldKey    Key
	none       bool
	forgetful  bool // keeps nothing over its own restart
}

type fakeSession struct {
	*fakeTarget
	id int
}

func (s fakeSession) keys() ([]Key, error) {
	if s.none {
		return nil, ErrNoReservations
	}
	return slices.Collect(maps.Values(s.registered)), nil
}
func (s fakeSession) register(key Key) (bool, error) {
	s.registered[s.id] = key
	return !s.forgetful, nil
}
func (s fakeSession) reserve(key Key) error {
	if s.heldBy != 0 && s.heldBy != s.id {
		return errConflict
	}
	s.heldBy, s.heldKey = s.id, key
	return nil
}
func (s fakeSession) holder() (Key, error) { return s.heldKey, nil }
func (s fakeSession) preempt(old, key Key) error {
	if old != s.heldKey {
		return errConflict
	}
	s.heldBy, s.heldKey = s.id, key
	return nil
}

func TestReserve(t *testing.T) {
	target := &fakeTarget{registered: make(map[int]Key)}
	first, second, firstAgain := fakeSession{target, 1}, fakeSession{target, 2}, fakeSession{target, 3}
	const one, two = Key(0x1111), Key(0x2222)
	if err := reserve(first, one); err != nil {
		t.Fatalf("a free volume: %v", err)
	}
	if err := reserve(first, one); err != nil {
		t.Errorf("again: %v", err)
	}
	var held *HeldError
	err := reserve(second, two)
	if !errors.As(err, &held) || held.Holder != one || !strings.Contains(err.Error(), "0x0000000000001111") {
		t.Errorf("a second node: %v, want a HeldError with the first's key", err)
	}
	if target.heldKey != one {
		t.Fatal("the second node took the volume")
	}
	if err := reserve(firstAgain, one); err != nil || target.heldBy != 3 {
		t.Errorf("the first after a crash: %v, held by session %d", err, target.heldBy)
	}
	// tgt: the key is registered, and nothing is reserved that could turn
	// against the node after a new login.
	simple := &fakeTarget{registered: make(map[int]Key), forgetful: true}
	if err := reserve(fakeSession{simple, 1}, one); err != nil || simple.heldBy != 0 || simple.registered[1] != one {
		t.Errorf("a forgetful target: %v, held by %d", err, simple.heldBy)
	}
	if err := reserve(fakeSession{simple, 2}, two); !errors.As(err, &held) || held.Holder != one || len(simple.registered) != 1 {
		t.Errorf("a second node at a forgetful target: %v, %v", err, simple.registered)
	}
	if err := reserve(fakeSession{simple, 3}, one); err != nil {
		t.Errorf("the first again at a forgetful target: %v", err)
	}
	target.none = true
	if err := reserve(first, one); !errors.Is(err, ErrNoReservations) {
		t.Errorf("a target without reservations: %v", err)
	}
}

// The kernel's struct has this size and these offsets on 64-bit machines.
func TestSGIOHeader(t *testing.T) {
	var h sgIOHeader
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"size", unsafe.Sizeof(h), 88},
		{"data", unsafe.Offsetof(h.data), 16},
		{"timeout", unsafe.Offsetof(h.timeout), 40},
		{"status", unsafe.Offsetof(h.status), 64},
		{"residual", unsafe.Offsetof(h.residual), 72},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}
