package qemutests

import (
	"context"
	"fmt"
	"strings"
)

// SwitchPorts is how many ports a Switch has, named port0, port1, …: a NIC with
// that Cable and End 1 is plugged in there.
const SwitchPorts = 2

// A Switch is a guest whose kernel is a switch: what the kernel of the host
// may not have, VLANs and bonds, and the frames of LACP, which no bridge of the
// host lets through.
type Switch struct{ *Guest }

// SwitchOptions are the tree that the lab's NFS server exports, its kernel, and
// an image of the profile virtual for both.
type SwitchOptions struct{ Tree, Kernel, Initrd string }

// switchScript makes br0 of the uplink, which is on the lab's bridge.
const switchScript = `set -e
modprobe -a bridge 8021q bonding
ip link add br0 type bridge forward_delay 0 mcast_snooping 0 vlan_filtering 1
ip link set uplink master br0 up
ip link set br0 up`

// StartSwitch boots a switch that connects its ports with the lab's bridge. Its
// own root comes by another card.
func (l *Lab) StartSwitch(ctx context.Context, o SwitchOptions) (*Switch, error) {
	nics := []NIC{{MAC: MAC(0xf0)}, {MAC: MAC(0xf1)}}
	// Drivers give names in any order.
	names := "ifname=own:" + MAC(0xf0) + " ifname=uplink:" + MAC(0xf1)
	for i := range SwitchPorts {
		// LACP wants to know a card's speed, which virtio's has none of.
		nics = append(nics, NIC{Model: "e1000", MAC: MAC(0xf2 + i), Cable: fmt.Sprintf("port%d", i), End: 0})
		names += " ifname=" + device(i) + ":" + MAC(0xf2+i)
	}
	g, err := l.Boot(ctx, GuestOptions{
		Name: "switch", Kernel: o.Kernel, Initrd: o.Initrd, NICs: nics, Memory: 1024,
		Cmdline: fmt.Sprintf("nfsroot=%s:%s,vers=3 %s ip=10.77.0.3:::24:switch:own:none sidus.rw.size=64m quiet init=%s", ServerAddr, o.Tree, names, AgentInit),
	})
	if err != nil {
		return nil, err
	}
	s := &Switch{g}
	_, err = s.Must(ctx, switchScript)
	g.leave() // It has next to nothing to do.
	return s, err
}

// device is a port's name in the switch's kernel.
func device(i int) string { return fmt.Sprintf("port%d", i) }

// Plain connects each port by itself. A vlan other than 0 is the one that they
// carry tagged, and nothing else; the lab's bridge is in it untagged.
func (s *Switch) Plain(ctx context.Context, vlan int) error {
	var ports []string
	for i := range SwitchPorts {
		ports = append(ports, device(i))
	}
	return s.connect(ctx, vlan, ports)
}

// Bond makes one bond of the ports, with options of ip-link(8), and connects
// that as Plain does.
func (s *Switch) Bond(ctx context.Context, vlan int, options string) error {
	script := "ip link add bond0 type bond miimon 100 " + options
	for i := range SwitchPorts {
		script += fmt.Sprintf("; ip link set %s down nomaster; ip link set %[1]s master bond0", device(i))
	}
	if _, err := s.Must(ctx, "set -e; "+script+"; ip link set bond0 up"); err != nil {
		return err
	}
	return s.connect(ctx, vlan, []string{"bond0"})
}

func (s *Switch) connect(ctx context.Context, vlan int, ports []string) error {
	var b strings.Builder
	b.WriteString("set -e\n")
	inside := "1"
	if vlan != 0 {
		inside = fmt.Sprint(vlan)
	}
	fmt.Fprintf(&b, "bridge vlan del vid 1-4094 dev uplink; bridge vlan add vid %s pvid untagged dev uplink\n", inside)
	for _, p := range ports {
		fmt.Fprintf(&b, "ip link set %s master br0 up\nbridge vlan del vid 1-4094 dev %[1]s\n", p)
		if vlan == 0 {
			fmt.Fprintf(&b, "bridge vlan add vid 1 pvid untagged dev %s\n", p)
		} else {
			fmt.Fprintf(&b, "bridge vlan add vid %d dev %s\n", vlan, p)
		}
	}
	_, err := s.Must(ctx, b.String())
	return err
}
