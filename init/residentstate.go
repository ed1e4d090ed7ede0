package main

import (
	"fmt"
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
