package rwlayer

import (
	"errors"
	"fmt"
	"os"
	"slices"
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
	return fmt.Sprintf("the volume is held by another node with %s (this node's is %s): two nodes must not share a volume; find the node with the same address or the same target",
		holder, e.Own)
}

// ErrNoReservations says that the device has no persistent reservations.
var ErrNoReservations = errors.New("the target does not support persistent reservations: a second node could use this volume at the same time")

// ErrNotPersistent says that the target has registered the node's key but will forget
// it when it is restarted.
var ErrNotPersistent = errors.New("the target cannot save which node holds the volume, and forgets it when it restarts: on LIO create a directory pr where it keeps its own files (/etc/target, /etc/rtslib-fb-target or /var/target)")

// Hold reserves the device for a node that runs on the device already, whose target may
// have forgotten that. It registers before it looks, and leaves the key there
// whatever it finds: of two nodes that come at the same moment, the other one,
// which is booting, sees the key and goes. A *HeldError that stays for longer
// than such a node needs to go says that the device was taken.
func Hold(f *os.File, key Key) error { return hold(deviceOf(f), key) }

// Register is the part of Hold that needs no access to the disk's data: it can be
// done in a session of its own, before the one that data moves on is started.
func Register(c Commander, key Key) error {
	_, err := claim(newDevice(c), key)
	var refused *senseError
	if errors.As(err, &refused) {
		// It may not be able to store the key of a second session.
		return CheckHolder(c, key, 0)
	}
	if errors.Is(err, ErrNoReservations) || errors.Is(err, ErrNotPersistent) {
		return nil
	}
	return err
}

// CheckHolder finds out whether another node has the device, and leaves nothing on
// it. Another node is a *HeldError, unless its key is takeover.
func CheckHolder(c Commander, key, takeover Key) error {
	keys, err := newDevice(c).keys()
	if errors.Is(err, ErrNoReservations) {
		return nil
	}
	if err != nil {
		return err
	}
	if other, held := otherKey(keys, key, takeover); held {
		return &HeldError{Holder: other, Own: key}
	}
	return nil
}

// Release gives back what this node has taken on the device, in this session
// or in earlier ones: its reservation and its registrations. What other nodes
// have stays. There being nothing to give back is no error.
func Release(f *os.File, key Key) error { return ReleaseByCommands(sgDevice{f}, key) }

// ReleaseByCommands is Release by another way to the device.
func ReleaseByCommands(c Commander, key Key) error {
	err := release(newDevice(c), key)
	if errors.Is(err, ErrNoReservations) {
		return nil
	}
	return err
}

// reserve makes the device this node's own: others may read it, but neither
// write it nor reserve it. After a crash the node gets it back by its key. A
// device that another node has, by a reservation or by a registered key, is a
// *HeldError, unless that key is takeover: then it is taken from there. One
// that has no reservations is ErrNoReservations, one that is held until the
// target restarts ErrNotPersistent. With any other error nothing of this node is
// left on the device.
//
// A target that does not keep registrations over its own restart gets the key
// only, and no reservation: such a one (tgt 1.0.85) takes the same node for
// another after each new login, and its own writes would fail with a conflict.
// The key alone keeps other nodes of ours away.
func reserve(d prDevice, key, takeover Key) error {
	keys, err := d.keys()
	if errors.Is(err, errConflict) { // An old reservation (SPC-2, RESERVE) keeps everybody out.
		return errors.Join(&HeldError{Own: key}, err)
	}
	if err != nil {
		return err
	}
	if other, held := otherKey(keys, key, takeover); held {
		return &HeldError{Holder: other, Own: key}
	}
	lasting, err := d.register(key)
	if err == nil || errors.Is(err, ErrNotPersistent) {
		unsaved := err
		if err = acquire(d, key, takeover, lasting, slices.Contains(keys, takeover)); err == nil {
			return unsaved
		}
	}
	if errors.Is(err, ErrNoReservations) {
		return err
	}
	if gone := release(d, key); gone != nil {
		err = errors.Join(err, fmt.Errorf("unregister the key: %w", gone))
	}
	return err
}

// acquire is the part of reserve behind the registration.
func acquire(d prDevice, key, takeover Key, lasting, held bool) error {
	if held {
		// That the other has gone meanwhile is seen below.
		if err := d.preempt(takeover, key, true); err != nil && !errors.Is(err, errConflict) {
			return fmt.Errorf("take over the volume from key %s: %w", takeover, err)
		}
	}
	// Two nodes that come at once find it free, both. The later one sees the
	// other's key now, or both do, and go.
	keys, err := d.keys()
	if err != nil {
		return err
	}
	if other, held := otherKey(keys, key, 0); held {
		return &HeldError{Holder: other, Own: key}
	}
	if err := prune(d, keys, key); err != nil {
		return err
	}
	if !lasting {
		return nil
	}
	return secure(d, key)
}

func hold(d prDevice, key Key) error {
	lasting, err := claim(d, key)
	if err != nil || !lasting {
		return err
	}
	return secure(d, key)
}

// claim registers the key and looks for others.
func claim(d prDevice, key Key) (lasting bool, err error) {
	lasting, unsaved := d.register(key)
	if unsaved != nil && !errors.Is(unsaved, ErrNotPersistent) {
		return false, unsaved
	}
	keys, err := d.keys()
	if err != nil {
		return false, err
	}
	if other, held := otherKey(keys, key, 0); held {
		return false, &HeldError{Holder: other, Own: key}
	}
	if err := prune(d, keys, key); err != nil {
		return false, err
	}
	return lasting, unsaved
}

// maxOwn is how many of this node's registrations a device may have.
const maxOwn = 16

// prune takes back the registrations of earlier sessions, which tgt never
// forgets, one for each login.
func prune(d prDevice, keys []Key, key Key) error {
	if count(keys, key) <= maxOwn {
		return nil
	}
	if err := d.preempt(key, key, false); err != nil {
		return fmt.Errorf("unregister the keys of earlier sessions: %w", err)
	}
	// LIO removes the asking session's own as well where nothing is reserved.
	_, err := d.register(key)
	if errors.Is(err, ErrNotPersistent) {
		return nil
	}
	return err
}

// secure reserves the device for the registered key.
func secure(d prDevice, key Key) error {
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
	if err := d.preempt(key, key, false); err != nil {
		return fmt.Errorf("take over the reservation of an earlier session: %w", err)
	}
	return nil
}

func release(d prDevice, key Key) error {
	keys, err := d.keys()
	if err != nil || !slices.Contains(keys, key) {
		return err
	}
	// Only who is registered can take back what an earlier session left.
	if _, err := d.register(key); err != nil && !errors.Is(err, ErrNotPersistent) {
		return err
	}
	holder, err := d.holder()
	if err != nil {
		return err
	}
	// That takes from earlier sessions what they left. A conflict says that there
	// is nothing of the kind; what is there is looked at below.
	if err := d.preempt(key, key, false); err != nil && !errors.Is(err, errConflict) {
		return err
	}
	if holder == key {
		if err := d.release(key); err != nil && !errors.Is(err, errConflict) {
			return err
		}
	}
	if err := d.unregister(); err != nil {
		return err
	}
	if keys, err = d.keys(); err == nil && slices.Contains(keys, key) {
		err = fmt.Errorf("key %s is still registered", key)
	}
	return err
}

func count(keys []Key, key Key) (n int) {
	for _, k := range keys {
		if k == key {
			n++
		}
	}
	return n
}

// otherKey is one of the keys that are neither the node's own nor allowed.
func otherKey(keys []Key, own, allowed Key) (other Key, found bool) {
	for _, k := range keys {
		if k != own && (k != allowed || k == 0) {
			return k, true
		}
	}
	return 0, false
}
