package networktest

import (
	"fmt"
	"testing"
)

// A Net is a switch, the node's cables into it, and hosts.
type Net struct {
	t *testing.T
	// Server is the switch and a host with ServerAddr and ServerAddr6 in one.
	Server *Host
	cables int
}

// The addresses of Net.Server.
const (
	ServerAddr  = "10.77.0.1"
	ServerAddr6 = "fd77::1"
)

// bridge is the switch, in the namespace of Net.Server.
const bridge = "br0"

// New makes a Net without cables.
func New(t *testing.T) *Net {
	t.Helper()
	n := &Net{t: t}
	n.Server = n.newHost("server")
	n.Server.Run("ip link add " + bridge + " type bridge forward_delay 0 mcast_snooping 0")
	n.Server.Run("ip addr add " + ServerAddr + "/24 dev " + bridge)
	n.Server.Run("ip -6 addr add " + ServerAddr6 + "/64 dev " + bridge + " nodad")
	n.Server.Run("ip link set " + bridge + " up")
	return n
}

// A Cable is between a card of the node and the switch.
type Cable struct {
	// MAC is the card's address. Default 52:54:00:77:00:NN, counted from 1.
	MAC string
	// Loose: the other end is not connected, there is no carrier.
	Loose bool
	// Elsewhere: the other end is up, but in no switch of the test.
	Elsewhere bool
}

// Plug gives the node a card of that name.
func (n *Net) Plug(name string, c Cable) {
	n.t.Helper()
	n.cables++
	if c.MAC == "" {
		c.MAC = fmt.Sprintf("52:54:00:77:00:%02x", n.cables)
	}
	// The node's side is made by its own thread: this process.
	run(n.t, fmt.Sprintf("ip link add %s address %s type veth peer name p-%s netns %d", name, c.MAC, name, n.Server.pid))
	if !c.Elsewhere {
		n.Server.Run("ip link set p-" + name + " master " + bridge)
	}
	if !c.Loose {
		n.Server.Run("ip link set p-" + name + " up")
	}
}

// Unplug takes a card of the node away.
func (n *Net) Unplug(name string) {
	n.t.Helper()
	n.cables--
	run(n.t, "ip link del "+name)
}
