package resident

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/network"
)

// A State is what the resident processes are handed at their start.
type State struct {
	// Session is nil where /rw is no LUN.
	Session *Session
	// Leases are those to renew.
	Leases []*network.LeaseState
	// Second is when in a minute this node looks at its tree.
	Second time.Duration
}

// leaseLine begins a line that is a lease; the others are the session's.
const leaseLine = "lease "

// secondLine begins the one line with the second.
const secondLine = "second "

func (s State) encode() []byte {
	var b []byte
	if s.Session != nil {
		b = s.Session.encode(true)
	}
	for _, l := range s.Leases {
		b = fmt.Appendf(b, "%s%s\n", leaseLine, l)
	}
	return fmt.Appendf(b, "%s%d\n", secondLine, s.Second)
}

// withLease is the state with a line of a lease instead of the one of the same
// device and address. It may hold any text: what is no such line changes nothing.
func withLease(state, line string) string {
	const words = 5 // leaseLine, device, index, MAC, address.
	same := strings.Fields(line)
	if len(same) < words || !strings.HasPrefix(line, leaseLine) || !strings.HasSuffix(line, "\n") {
		return state
	}
	var b strings.Builder
	for old := range strings.Lines(state) {
		if f := strings.Fields(old); len(f) >= words && slices.Equal(f[:words], same[:words]) {
			old = line
		}
		b.WriteString(old)
	}
	return b.String()
}

func decodeResident(text string) (s State, err error) {
	var rest strings.Builder
	for line := range strings.Lines(text) {
		if second, ok := strings.CutPrefix(line, secondLine); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(second), 10, 64)
			if err != nil {
				return s, fmt.Errorf("the second of each minute in which the tree is checked: %w", err)
			}
			s.Second = time.Duration(n)
			continue
		}
		lease, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), leaseLine)
		if !ok {
			rest.WriteString(line)
			continue
		}
		t, err := network.ParseLeaseState(lease)
		if err != nil {
			return s, err
		}
		s.Leases = append(s.Leases, t)
	}
	if rest.Len() > 0 {
		session, err := decodeSession(rest.String())
		if err != nil {
			return s, err
		}
		s.Session = &session
	}
	return s, nil
}
