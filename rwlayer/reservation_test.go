package rwlayer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// A fakeTarget keeps registrations and a reservation as SPC-4 has them, by
// session.
type fakeTarget struct {
	regs []registration
	// holder is the index in regs of the one that has the reservation, -1.
	holder int
	// saved says that registrations outlive the target's restart.
	saved bool

	none      bool // has no persistent reservations
	tgt       bool // refuses APTPL and PREEMPT AND ABORT
	unsaved   bool // LIO that cannot write its file
	aborted   bool // a PREEMPT AND ABORT came
	fail      []answer
	after     func(cdb []byte) // behind each command that was carried out
	execution int
}

type registration struct {
	session int
	key     Key
}

type answer struct {
	status byte
	sense  []byte
}

func newTarget() *fakeTarget { return &fakeTarget{holder: -1} }

// session is a way to the target; each login is another one on tgt.
func (f *fakeTarget) session(id int) prDevice {
	return prDevice{commands: fakeSession{f, id}, timeout: time.Second}
}

func (f *fakeTarget) find(session int) int {
	return slices.IndexFunc(f.regs, func(r registration) bool { return r.session == session })
}

func (f *fakeTarget) drop(doomed func(i int, r registration) bool) {
	var kept []registration
	holder := -1
	for i, r := range f.regs {
		if doomed(i, r) {
			continue
		}
		if i == f.holder {
			holder = len(kept)
		}
		kept = append(kept, r)
	}
	f.regs, f.holder = kept, holder
}

func (f *fakeTarget) heldBy() (session int, key Key) {
	if f.holder < 0 {
		return 0, 0
	}
	return f.regs[f.holder].session, f.regs[f.holder].key
}

func (f *fakeTarget) keys() (all []Key) {
	for _, r := range f.regs {
		all = append(all, r.key)
	}
	return all
}

type fakeSession struct {
	*fakeTarget
	id int
}

func illegal(asc byte) answer {
	return answer{statusCheckCondition, []byte{0: 0x70, 2: senseIllegalRequest, 12: asc, 17: 0}}
}

func (s fakeSession) Execute(cdb, data []byte, write bool) (byte, []byte, error) {
	s.execution++
	if len(s.fail) > 0 {
		a := s.fail[0]
		s.fail = s.fail[1:]
		return a.status, a.sense, nil
	}
	a := s.carryOut(cdb, data)
	if s.after != nil {
		s.after(cdb)
	}
	return a.status, a.sense, nil
}

func (s fakeSession) carryOut(cdb, data []byte) answer {
	if s.none {
		return illegal(ascOpcode)
	}
	if cdb[0] == prIn {
		if cdb[1] == inReadKeys {
			binary.BigEndian.PutUint32(data[4:], uint32(8*len(s.regs)))
			for i, r := range s.regs {
				if 8*i+16 <= len(data) {
					binary.BigEndian.PutUint64(data[8+8*i:], uint64(r.key))
				}
			}
		} else if s.holder >= 0 {
			binary.BigEndian.PutUint32(data[4:], 16)
			binary.BigEndian.PutUint64(data[8:], uint64(s.regs[s.holder].key))
		}
		return answer{}
	}
	key, serviceKey := Key(binary.BigEndian.Uint64(data)), Key(binary.BigEndian.Uint64(data[8:]))
	own := s.find(s.id)
	if s.tgt && (data[20] != 0 || cdb[1] == outPreemptAndAbort) {
		return illegal(ascField)
	}
	if cdb[1] != outRegisterIgnore && (own < 0 || s.regs[own].key != key) {
		return answer{status: statusConflict}
	}
	switch cdb[1] {
	case outRegisterIgnore:
		s.saved = data[20] == activatePersistence && !s.unsaved
		switch {
		case serviceKey == 0 && own >= 0:
			s.drop(func(i int, _ registration) bool { return i == own })
		case serviceKey == 0:
		case own >= 0:
			s.regs[own].key = serviceKey
		default:
			s.regs = append(s.regs, registration{s.id, serviceKey})
		}
		if s.unsaved && data[20] != 0 {
			return answer{statusCheckCondition, []byte{0: 0x70, 2: senseNotReady, 12: ascCommunication, 17: 0}}
		}
	case outReserve:
		if s.holder >= 0 && s.holder != own {
			return answer{status: statusConflict}
		}
		s.holder = own
	case outRelease:
		if s.holder == own {
			s.holder = -1
		}
	case outPreemptAndAbort, outPreempt:
		s.aborted = s.aborted || cdb[1] == outPreemptAndAbort
		if !slices.Contains(s.keys(), serviceKey) {
			return answer{status: statusConflict}
		}
		_, held := s.heldBy()
		if held == serviceKey {
			s.holder = own
		}
		self := s.regs[own]
		// LIO takes the asking session's registration too, where it holds nothing.
		spare := s.tgt || held == serviceKey
		s.drop(func(_ int, r registration) bool { return r.key == serviceKey && (r != self || !spare) })
	}
	return answer{}
}

const one, two, three = Key(0x1111), Key(0x2222), Key(0x3333)

// targets are the kinds that there are.
func targets() map[string]*fakeTarget {
	tgt, unsaved := newTarget(), newTarget()
	tgt.tgt, unsaved.unsaved = true, true
	return map[string]*fakeTarget{"LIO": newTarget(), "tgt": tgt, "LIO that cannot write": unsaved}
}

func isHeld(err error, by Key) bool {
	var held *HeldError
	return errors.As(err, &held) && held.Holder == by
}

// good tells whether a reservation came off, also on a target that forgets.
func good(err error) bool { return err == nil || errors.Is(err, ErrNotPersistent) }

func TestReserve(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			if err := reserve(target.session(1), one, 0); !good(err) {
				t.Fatalf("a free volume: %v", err)
			}
			if err := reserve(target.session(1), one, 0); !good(err) {
				t.Errorf("again: %v", err)
			}
			err := reserve(target.session(2), two, 0)
			if !isHeld(err, one) || !strings.Contains(err.Error(), "0x0000000000001111") {
				t.Errorf("a second node: %v, want a HeldError with the first's key", err)
			}
			if got := target.keys(); !slices.Equal(got, []Key{one}) {
				t.Errorf("the second node leaves %v", got)
			}
			if err := reserve(target.session(3), one, 0); !good(err) {
				t.Errorf("the first after a crash: %v", err)
			}
			session, _ := target.heldBy()
			if want := map[string]int{"LIO": 3}[name]; session != want {
				t.Errorf("held by session %d, want %d", session, want)
			}
		})
	}
	if err := reserve((&fakeTarget{none: true}).session(1), one, 0); !errors.Is(err, ErrNoReservations) {
		t.Errorf("a target without reservations: %v", err)
	}
}

// What a node has taken it gives back, that of earlier sessions too, and then
// the next one needs no takeover. What others have stays.
func TestRelease(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			for session := 1; session <= 3; session++ { // Crashed twice.
				if err := reserve(target.session(session), one, 0); !good(err) {
					t.Fatalf("%v", err)
				}
			}
			if err := release(target.session(9), two); err != nil || len(target.regs) == 0 {
				t.Errorf("another node's release: %v, left %v", err, target.regs)
			}
			if err := release(target.session(3), one); err != nil || len(target.regs) > 0 || target.holder >= 0 {
				t.Errorf("%v, left %v, holder %d", err, target.regs, target.holder)
			}
			if err := release(target.session(3), one); err != nil {
				t.Errorf("nothing to give back: %v", err)
			}
			if err := reserve(target.session(4), two, 0); !good(err) {
				t.Errorf("the next node: %v", err)
			}
		})
	}
}

// A node that is refused takes nothing, and above all does not make the target
// forget at its restart who has the volume.
func TestRefusedLeavesAPTPL(t *testing.T) {
	target := newTarget()
	if err := reserve(target.session(1), one, 0); err != nil || !target.saved {
		t.Fatalf("%v, saved %v", err, target.saved)
	}
	if err := reserve(target.session(2), two, 0); !isHeld(err, one) {
		t.Fatal(err)
	}
	looked := 0
	target.after = func(cdb []byte) {
		if cdb[0] == prIn {
			if looked++; looked == 1 { // The first comes back behind the look.
				target.regs, target.holder = []registration{{1, one}}, 0
			}
		}
	}
	target.regs, target.holder = nil, -1
	if err := reserve(target.session(2), two, 0); !isHeld(err, one) {
		t.Errorf("the other came between: %v", err)
	}
	if got := target.keys(); !slices.Equal(got, []Key{one}) || !target.saved {
		t.Errorf("registered %v, kept over the target's restart: %v", got, target.saved)
	}
}

// A volume is taken from the key that was named, and from no other. Afterwards
// the node that had it is refused.
func TestReserveTakeover(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
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
				err := reserve(target.session(step.session), step.key, step.takeover)
				if step.want == 0 && !good(err) || step.want != 0 && !isHeld(err, step.want) {
					t.Errorf("step %d: %v", i, err)
				}
			}
			if target.aborted == target.tgt {
				t.Errorf("what the other had under way was ended: %v", target.aborted)
			}
		})
	}
	// With a third node there, nothing is taken from the second.
	target := newTarget()
	target.regs = []registration{{2, two}, {3, three}}
	if err := reserve(target.session(1), one, two); !isHeld(err, three) || len(target.regs) != 2 {
		t.Errorf("%v, left %v", err, target.regs)
	}
}

// Two nodes look at a free volume at the same moment. They must not both have
// it, and whoever goes leaves nothing behind that would lock out the other.
func TestReserveAtOnce(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			var other error
			target.after = func([]byte) {
				target.after = nil // The second comes in behind the first one's look.
				other = reserve(target.session(2), two, 0)
			}
			err := reserve(target.session(1), one, 0)
			if good(err) && good(other) {
				t.Errorf("both have the volume")
			}
			if !good(other) || len(target.regs) != 1 {
				t.Errorf("the second, which was alone: %v, registered %v", other, target.regs)
			}
		})
	}
}

// A target forgets a node that runs, and another one boots at that moment. The
// one that runs has the volume in the end, wherever the two meet.
func TestHoldInATie(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			for step := 1; step <= 6; step++ {
				target.regs, target.holder, target.execution = nil, -1, 0
				var claimed error
				met := false
				target.after = func([]byte) {
					if target.execution != step || met {
						return
					}
					met = true
					claimed = hold(target.session(1), one)
				}
				booting := reserve(target.session(2), two, 0)
				target.after = nil
				if !met {
					continue
				}
				again := hold(target.session(1), one)
				switch {
				case good(booting): // It had looked for the second time before the other came.
					if !isHeld(again, two) || !isHeld(claimed, two) {
						t.Errorf("step %d: both have the volume: %v, %v", step, claimed, again)
					}
					if step < 3 {
						t.Errorf("step %d: the booting node has won", step)
					}
				case !isHeld(booting, one) || !good(again):
					t.Errorf("step %d: the booting node: %v, the running one: %v, registered %v", step, booting, again, target.regs)
				}
			}
		})
	}
}

// tgt keeps a registration of each login for ever. They must neither hide
// another node's nor grow without end.
func TestManyRegistrations(t *testing.T) {
	target := newTarget()
	target.tgt = true
	for session := range 200 {
		target.regs = append(target.regs, registration{session, one})
	}
	target.regs = append(target.regs, registration{200, two})
	if err := reserve(target.session(201), one, 0); !isHeld(err, two) {
		t.Errorf("another node behind 200 registrations: %v", err)
	}
	target.regs = target.regs[:200]
	if err := reserve(target.session(201), one, 0); err != nil || len(target.regs) != 1 {
		t.Errorf("%v, %d registrations are left", err, len(target.regs))
	}
}

// What a target cannot do at this moment is asked for again, for a while; what
// it will never do is not. Only one kind of an illegal request means that it has
// no reservations.
func TestAnswers(t *testing.T) {
	check := func(key, asc, ascq byte) answer {
		return answer{statusCheckCondition, []byte{0: 0x70, 2: key, 12: asc, 13: ascq, 17: 0}}
	}
	for name, tt := range map[string]struct {
		answer answer
		times  int
		want   string // "": it goes on
		none   bool
	}{
		"busy":                   {answer{statusBusy, nil}, 3, "", false},
		"task set full":          {answer{statusTaskSetFull, nil}, 3, "", false},
		"unit attentions":        {check(senseUnitAttention, 0x29, 0), 5, "", false},
		"becoming ready":         {check(senseNotReady, 0x04, 0x01), 3, "", false},
		"aborted":                {check(senseAborted, 0x4b, 0), 1, "", false},
		"descriptor format":      {answer{statusCheckCondition, []byte{0x72, senseUnitAttention, 0x29, 0}}, 1, "", false},
		"busy for ever":          {answer{statusBusy, nil}, 1000, "busy (SCSI status 0x08), for ", false},
		"no such command":        {check(senseIllegalRequest, 0x20, 0), 1, "", true},
		"no such service action": {check(senseIllegalRequest, 0x24, 0), 1, "", true},
		"no such unit":           {check(senseIllegalRequest, 0x25, 0), 1, "no such logical unit", false},
		"noSpace":                {check(senseIllegalRequest, 0x55, 4), 1, "cannot store another registration", false},
		"medium error":           {check(3, 0x11, 0), 1, "sense key 0x3, 11/00", false},
		"an older reservation":   {answer{statusConflict, nil}, 1, "held by another node with an unknown key", false},
	} {
		t.Run(name, func(t *testing.T) {
			target := newTarget()
			for range tt.times {
				target.fail = append(target.fail, tt.answer)
			}
			err := reserve(target.session(1), one, 0)
			if errors.Is(err, ErrNoReservations) != tt.none || !tt.none && (err == nil) != (tt.want == "") {
				t.Errorf("%v", err)
			}
			if tt.want != "" && !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// Register leaves the reservation to the session that moves data, and Look leaves
// nothing.
func TestRegisterAndCheckHolder(t *testing.T) {
	target := newTarget()
	if err := CheckHolder(fakeSession{target, 1}, one, 0); err != nil || len(target.regs) != 0 {
		t.Errorf("%v, registered %v", err, target.regs)
	}
	if err := Register(fakeSession{target, 1}, one); err != nil || len(target.regs) != 1 || target.holder >= 0 {
		t.Errorf("%v, registered %v, holder %d", err, target.regs, target.holder)
	}
	if err := CheckHolder(fakeSession{target, 2}, two, 0); !isHeld(err, one) {
		t.Errorf("another's: %v", err)
	}
	if err := CheckHolder(fakeSession{target, 2}, two, one); err != nil {
		t.Errorf("one to be taken over: %v", err)
	}
	if err := ReleaseByCommands(fakeSession{target, 2}, one); err != nil || len(target.regs) != 0 {
		t.Errorf("%v, left %v", err, target.regs)
	}
	if err := Register(fakeSession{&fakeTarget{none: true}, 1}, one); err != nil {
		t.Error(err)
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
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("%s = %d, want %d", tt.name, tt.got, tt.want)
			}
		})
	}
}
