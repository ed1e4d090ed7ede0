package resident

import (
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/network"
)

func TestResidentState(t *testing.T) {
	lease := &network.LeaseState{Device: "eth0", Index: 2, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Addr: netip.MustParseAddr("10.0.0.7"),
		ClientID: "a\nlease b", Time: time.Hour, T1: time.Minute, T2: 2 * time.Minute}
	session := testSession(t)
	for name, state := range map[string]State{
		"lease":   {Leases: []*network.LeaseState{lease, lease}},
		"session": {Session: &session},
		"both":    {Session: &session, Leases: []*network.LeaseState{lease}},
		"second":  {Second: 59*time.Second + time.Millisecond},
		"nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeResident(string(state.encode()))
			if err != nil || !reflect.DeepEqual(got.Leases, state.Leases) || (got.Session == nil) != (state.Session == nil) || got.Second != state.Second {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			if got.Session != nil && got.Session.Target.Password != session.Target.Password {
				t.Errorf("%s: the session is damaged", name)
			}
		})
	}
	// A lease that was renewed takes its place, and nothing else does.
	other := *lease
	other.Device = "eth1"
	state := string(State{Session: &session, Leases: []*network.LeaseState{lease, &other}}.encode())
	renewed := other
	renewed.Since = 5 * time.Hour
	got, err := decodeResident(withLease(state, leaseLine+renewed.String()+"\n"))
	if err != nil || len(got.Leases) != 2 || got.Leases[0].Since != 0 || got.Leases[1].Since != 5*time.Hour || got.Session == nil {
		t.Errorf("%+v, %v", got, err)
	}
	other.Device = "eth2"
	for _, line := range []string{"", "lease", "lease \n", "lease a b c d e\n", leaseLine + renewed.String(), leaseLine + other.String() + "\n", "over\n"} {
		t.Run(line, func(t *testing.T) {
			if got := withLease(state, line); got != state {
				t.Errorf("%q changed the state: %q", line, got)
			}
		})
	}
	for _, text := range []string{"lease \n", "lease \"eth0\"\n", "name\n"} {
		t.Run(text, func(t *testing.T) {
			if _, err := decodeResident(text); err == nil {
				t.Errorf("%q: no error", text)
			}
		})
	}
}
