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
	unsaved    bool // cannot write registrations down
	// looked is called behind each look at the keys.
	looked func()
}

type fakeSession struct {
	*fakeTarget
	id int
}

func (s fakeSession) keys() ([]Key, error) {
	if s.none {
		return nil, ErrNoReservations
	}
	all := slices.Collect(maps.Values(s.registered))
	if s.looked != nil {
		s.looked()
	}
	return all, nil
}
func (s fakeSession) register(key Key) (bool, error) {
	s.registered[s.id] = key
	if s.unsaved {
		return false, ErrUnsaved
	}
	return !s.forgetful, nil
}
func (s fakeSession) unregister() error {
	delete(s.registered, s.id)
	if s.heldBy == s.id {
		s.heldBy, s.heldKey = 0, 0
	}
	return nil
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
	if s.registered[s.id] != key {
		return errConflict
	}
	maps.DeleteFunc(s.registered, func(id int, k Key) bool { return id != s.id && k == old })
	if old == s.heldKey {
		s.heldBy, s.heldKey = s.id, key
	}
	return nil
}

func TestReserve(t *testing.T) {
	target := &fakeTarget{registered: make(map[int]Key)}
	first, second, firstAgain := fakeSession{target, 1}, fakeSession{target, 2}, fakeSession{target, 3}
	const one, two = Key(0x1111), Key(0x2222)
	if err := reserve(first, one, 0); err != nil {
		t.Fatalf("a free volume: %v", err)
	}
	if err := reserve(first, one, 0); err != nil {
		t.Errorf("again: %v", err)
	}
	var held *HeldError
	err := reserve(second, two, 0)
	if !errors.As(err, &held) || held.Holder != one || !strings.Contains(err.Error(), "0x0000000000001111") {
		t.Errorf("a second node: %v, want a HeldError with the first's key", err)
	}
	if target.heldKey != one {
		t.Fatal("the second node took the volume")
	}
	if err := reserve(firstAgain, one, 0); err != nil || target.heldBy != 3 {
		t.Errorf("the first after a crash: %v, held by session %d", err, target.heldBy)
	}
	// tgt: the key is registered, and nothing is reserved that could turn
	// against the node after a new login.
	simple := &fakeTarget{registered: make(map[int]Key), forgetful: true}
	if err := reserve(fakeSession{simple, 1}, one, 0); err != nil || simple.heldBy != 0 || simple.registered[1] != one {
		t.Errorf("a forgetful target: %v, held by %d", err, simple.heldBy)
	}
	if err := reserve(fakeSession{simple, 2}, two, 0); !errors.As(err, &held) || held.Holder != one || len(simple.registered) != 1 {
		t.Errorf("a second node at a forgetful target: %v, %v", err, simple.registered)
	}
	if err := reserve(fakeSession{simple, 3}, one, 0); err != nil {
		t.Errorf("the first again at a forgetful target: %v", err)
	}
	target.none = true
	if err := reserve(first, one, 0); !errors.Is(err, ErrNoReservations) {
		t.Errorf("a target without reservations: %v", err)
	}
}

// A volume is taken from the key that was named, and from no other. Afterwards
// the node that had it is refused.
func TestReserveTakeover(t *testing.T) {
	const one, two, three = Key(0x1111), Key(0x2222), Key(0x3333)
	for _, target := range []*fakeTarget{{}, {forgetful: true}, {unsaved: true}} {
		target.registered = make(map[int]Key)
		for i, step := range []struct {
			session       int
			key, takeover Key
			want          Key // who holds it, if this one is refused
		}{
			{session: 1, key: one},
			{session: 2, key: two, takeover: three, want: one},
			{session: 2, key: two, takeover: one},
			{session: 3, key: one, want: two},
			{session: 4, key: two, takeover: one},
		} {
			err := reserve(fakeSession{target, step.session}, step.key, step.takeover)
			var held *HeldError
			refused := errors.As(err, &held)
			if refused != (step.want != 0) || refused && held.Holder != step.want || !refused && err != nil && !target.unsaved {
				t.Errorf("forgetful %v, unsaved %v, step %d: %v", target.forgetful, target.unsaved, i, err)
			}
			if target.unsaved && !refused && !errors.Is(err, ErrUnsaved) {
				t.Errorf("step %d: %v, want ErrUnsaved", i, err)
			}
		}
	}
}

// Two nodes look at a free volume at the same moment. They must not both have
// it, and whoever goes leaves nothing behind that would lock out the other.
func TestReserveAtOnce(t *testing.T) {
	const one, two = Key(0x1111), Key(0x2222)
	for _, forgetful := range []bool{false, true} {
		target := &fakeTarget{registered: make(map[int]Key), forgetful: forgetful}
		first, second := fakeSession{target, 1}, fakeSession{target, 2}
		var other error
		target.looked = func() {
			target.looked = nil // The second comes in behind the first one's look.
			other = reserve(second, two, 0)
		}
		err := reserve(first, one, 0)
		if err == nil && other == nil {
			t.Errorf("forgetful %v: both have the volume", forgetful)
		}
		if other != nil || len(target.registered) != 1 {
			t.Errorf("forgetful %v: the second, which was alone: %v, registered %v", forgetful, other, target.registered)
		}
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
