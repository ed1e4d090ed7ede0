package resident

import (
	"errors"
	"sync"
	"time"

	"github.com/sidusboot/sidusboot/clock"
)

// A starter starts the peer again, for as long as it takes.
type starter struct {
	name string
	log  Log
	// mu is for state.
	mu    sync.Mutex
	state string
	start func(name, state string) (*peer, error)
	sleep func(time.Duration)
	now   func() time.Duration

	last, pause time.Duration // of the last start
}

func newStarter(name, state string, log Log) *starter {
	return &starter{name: name, state: state, log: log, start: startPeer, sleep: time.Sleep, now: clock.Uptime}
}

const (
	// calmTime is how long a peer has to have run for the next start to come
	// without a pause; the pauses double from firstPause to maxPause.
	calmTime   = time.Minute
	firstPause = time.Second
	maxPause   = time.Minute
	// sayAgain is how often the same failure is logged.
	sayAgain = 10 * time.Minute
)

// learn takes a lease that was renewed into the state: who is started again is to
// know when it runs out.
func (s *starter) learn(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = withLease(s.state, line)
}

func (s *starter) known() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// again starts the peer, after a pause where the last one did not run long.
func (s *starter) again() *peer {
	said, saidAt := "", time.Duration(0)
	for {
		if s.last != 0 && s.now()-s.last < calmTime {
			s.pause = min(max(2*s.pause, firstPause), maxPause)
			s.sleep(s.pause)
		} else {
			s.pause = 0
		}
		s.last = s.now()
		p, err := s.start(s.name, s.known())
		if err == nil {
			s.log.Errorf("%s runs again", s.name)
			return p
		}
		if text := err.Error(); text != said || s.now()-saidAt > sayAgain {
			s.log.Errorf("%s CANNOT BE STARTED AGAIN, trying again; until it runs the node's leases are not renewed, and nothing logs in again to the target of its volume: %v", s.name, err)
			said, saidAt = text, s.now()
		}
	}
}

// attend starts the peer again whenever it ends, and does not return. use is told
// each new one.
func (s *starter) attend(p *peer, use func(*peer)) {
	for {
		p = s.next(p)
		use(p)
	}
}

// next waits for the end of the peer and starts the one after it.
func (s *starter) next(p *peer) *peer {
	p.learn, p.logf = s.learn, s.log.Errorf
	p.await()
	err := p.end()
	if err == nil {
		err = errors.New("exit status 0")
	}
	s.log.Errorf("%s HAS ENDED (%v): starting it again", s.name, err)
	return s.again()
}
