package rwlayer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

// A Holder has the volume reserved for this node as long as the node runs on it,
// and gives the volume up where another node has taken it: what this kernel
// remembers of the volume is no longer true then.
type Holder struct {
	// Session is the session that data moves on, of which Holder needs these
	// methods.
	Session interface {
		State() (string, error)
		Abandon() error
	}
	// Reserve takes the reservation again: a target that was restarted may have
	// forgotten it.
	Reserve func() error
	// Release takes back what this node has at its target.
	Release func() error
	// Logf is told what happens to the volume.
	Logf func(format string, args ...any)

	// held counts the logins, since the connection was lost, before each of which
	// another node had the volume.
	held int
}

const (
	firstHold = time.Second
	maxHold   = 15 * time.Second
	// heldTries and heldPause are how often another node must be found to have the
	// volume before that counts. One that is booting sees this node's key and
	// goes.
	heldTries = 6
	heldPause = 2 * time.Second
)

// Hold reserves the volume. A reservation that fails is tried again for as long
// as there is a session. Hold waits for the disk: who logs in again must not
// wait for Hold.
func (h *Holder) Hold() {
	said, held := "", 0
	for pause := firstHold; ; pause = min(2*pause, maxHold) {
		err := h.Reserve()
		if err == nil {
			return
		}
		if text := err.Error(); text != said {
			h.Logf("reserve the volume again: %v", err)
			said = text
		}
		var other *HeldError
		if !errors.As(err, &other) {
			held = 0
		} else if held++; held == heldTries {
			h.giveUp()
			return
		} else {
			pause = heldPause
		}
		if _, err := h.Session.State(); errors.Is(err, iscsi.ErrGone) {
			return
		}
		time.Sleep(pause/2 + rand.N(pause))
	}
}

// Refused is iscsi.Keeper.Refused for a session whose iscsi.Target.Admit looks at
// reservations and stamps.
func (h *Holder) Refused(attempt int, err error) (pause time.Duration, stop bool) {
	if attempt == 1 {
		h.held = 0
	}
	if errors.Is(err, ErrTaken) {
		h.giveUp()
		return 0, true
	}
	var other *HeldError
	if !errors.As(err, &other) {
		h.held = 0
		return 0, false
	}
	if h.held++; h.held == heldTries {
		h.giveUp()
		return 0, true
	}
	return heldPause, false
}

// giveUp ends the session, so that nothing that this node has not written yet
// reaches the volume, and takes back the keys, which would keep out who has it.
func (h *Holder) giveUp() {
	h.Logf("ANOTHER NODE HAS TAKEN THE VOLUME: this node gives it up, and data not yet written to it is lost: give the volume to one node only, and reboot this node")
	if err := h.Session.Abandon(); err != nil && !errors.Is(err, iscsi.ErrGone) {
		h.Logf("%v", err)
	}
	if err := h.Release(); err != nil {
		h.Logf("the target still has this node's key: %v", err)
	}
}

// giveBackTime is what it may take to give back what this node has at its target.
const giveBackTime = 10 * time.Second

// ReleaseBySession gives back what this node has on the volume under key, by a session
// beside the one that data moves on, which may be gone.
func ReleaseBySession(s *iscsi.Session, key Key) error {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTime)
	defer cancel()
	return s.Ask(ctx, func(u *iscsi.LogicalUnit) error { return ReleaseByCommands(u, key) })
}
