package rwlayer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A fakeDisk is a target that can be read, beside its reservations.
type fakeDisk struct {
	fakeSession
	data  []byte
	block int
}

func (d fakeDisk) Execute(cdb, data []byte, write bool) (byte, []byte, error) {
	switch cdb[0] {
	case readCapacity10:
		binary.BigEndian.PutUint32(data[4:], uint32(d.block))
	case read10:
		copy(data, d.data[:int(cdb[8])*d.block])
	default:
		return d.fakeSession.Execute(cdb, data, write)
	}
	return 0, nil, nil
}

// A volume that another node has mounted is not written to any more, although the
// target has forgotten all keys, and nothing is registered there.
func TestAdmit(t *testing.T) {
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "disk")
	if out, err := exec.Command(mkfs, "-q", file, "4M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ReadStamp(bytes.NewReader(data))
	if err != nil || own == "" {
		t.Fatalf("stamp %q, %v", own, err)
	}
	for _, block := range []int{512, 4096} {
		target := newTarget()
		d := fakeDisk{fakeSession{target, 1}, bytes.Clone(data), block}
		if err := Admit(d, one, []Stamp{"earlier", own}); err != nil || len(target.regs) != 1 {
			t.Errorf("%d: our own: %v, registered %v", block, err, target.regs)
		}
		target.regs = nil
		d.data[extBlock+extMountCount]++ // As a mount does.
		if err := Admit(d, one, []Stamp{own}); !errors.Is(err, ErrTaken) || len(target.regs) != 0 {
			t.Errorf("%d: mounted by another: %v, registered %v", block, err, target.regs)
		}
		if err := Admit(d, one, nil); err != nil {
			t.Errorf("%d: a file system without a stamp: %v", block, err)
		}
		target.regs = []registration{{2, two}}
		if err := Admit(d, one, nil); !isHeld(err, two) || len(target.regs) != 2 {
			t.Errorf("%d: another's key: %v, registered %v", block, err, target.regs)
		}
		target.regs = nil
		d.data[extBlock+extUUID]++
		if err := Admit(d, one, []Stamp{own}); !errors.Is(err, ErrReplaced) || len(target.regs) != 0 {
			t.Errorf("%d: another file system: %v, registered %v", block, err, target.regs)
		}
		clear(d.data) // The target's own storage is not there yet.
		if err := Admit(d, one, []Stamp{"earlier", own}); !errors.Is(err, ErrReplaced) || len(target.regs) != 0 {
			t.Errorf("%d: an empty volume: %v, registered %v", block, err, target.regs)
		}
	}
	// A target that cannot store the key of a second session, or cannot read
	// the block, must not keep a node from its volume.
	for _, refusal := range []answer{illegal(ascNoRoom), illegal(ascParameter)} {
		target := newTarget()
		target.regs = []registration{{7, one}}
		target.fail = []answer{refusal, refusal}
		if refusal.sense[12] == ascNoRoom {
			target.fail = target.fail[:1]
		}
		if err := Admit(fakeDisk{fakeSession{target, 1}, data, 512}, one, []Stamp{own}); err != nil {
			t.Errorf("%x: %v", refusal.sense[12], err)
		}
		target.regs = append(target.regs, registration{8, two})
		target.fail = []answer{refusal, refusal}
		if refusal.sense[12] == ascNoRoom {
			target.fail = target.fail[:1]
		}
		if err := Admit(fakeDisk{fakeSession{target, 1}, data, 512}, one, []Stamp{own}); !isHeld(err, two) {
			t.Errorf("%x, with another's key: %v", refusal.sense[12], err)
		}
	}
	if err := Admit(fakeDisk{fakeSession{newTarget(), 1}, data, 0}, one, []Stamp{own}); err == nil || errors.Is(err, ErrTaken) {
		t.Errorf("blocks of no size: %v", err)
	}
	if stamp, err := ReadStamp(bytes.NewReader(make([]byte, 4096))); stamp != "" || err != nil {
		t.Errorf("no file system: %q, %v", stamp, err)
	}
}
