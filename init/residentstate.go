package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/network"
)

// A residentState is what the keeper is handed at its start.
type residentState struct {
	// session is nil where /rw is no LUN.
	session *sessionState
	leases  []*network.Tenancy
}

// leaseLine begins a line that is a lease; the others are the session's.
const leaseLine = "lease "

func (s residentState) encode() []byte {
	var b []byte
	if s.session != nil {
		b = s.session.encode(true)
	}
	for _, l := range s.leases {
		b = fmt.Appendf(b, "%s%s\n", leaseLine, l)
	}
	return b
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

func decodeResident(text string) (s residentState, err error) {
	var rest strings.Builder
	for line := range strings.Lines(text) {
		lease, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), leaseLine)
		if !ok {
			rest.WriteString(line)
			continue
		}
		t, err := network.ParseTenancy(lease)
		if err != nil {
			return s, err
		}
		s.leases = append(s.leases, t)
	}
	if rest.Len() > 0 {
		session, err := decodeSession(rest.String())
		if err != nil {
			return s, err
		}
		s.session = &session
	}
	return s, nil
}
