package nodefiles

import (
	"fmt"
	"slices"

	"github.com/sidusboot/sidusboot/managers"
	"github.com/sidusboot/sidusboot/network"
)

// adviseManagers tells every network manager that the tree in union may have to keep
// the NICs as they are, or none where the tree has the leases. What cannot be written
// is returned: that manager may never run.
func (n *Node) adviseManagers(union string) (errs []error) {
	advice, err := n.advice("/sys")
	if err != nil {
		return []error{fmt.Errorf("network managers: %w", err)}
	}
	if err := writeFiles("/", []managers.File{advice.KeepNames()}); err != nil {
		errs = append(errs, err)
	}
	if n.TreeOwnsLeases {
		advice = managers.Advice{}
	} else {
		errs = append(errs, n.tellManagers(union, advice)...)
	}
	return append(errs, editTree(union, advice.Devices())...)
}

// tellManagers writes what goes below /run.
func (n *Node) tellManagers(union string, advice managers.Advice) (errs []error) {
	unit, err := readUnit(union, managers.NetworkingUnit)
	if err != nil {
		errs = append(errs, fmt.Errorf("%s may take %s down: %w", managers.NetworkingUnit, n.Leases[0].Device, err))
	}
	err = removeOld("/")
	if err == nil {
		err = writeFiles("/", append(advice.Files(), advice.Networking(string(unit))...))
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("network managers: %w", err))
	}
	return errs
}

// advice is the leases as the managers are to see them.
func (n *Node) advice(sysfs string) (a managers.Advice, err error) {
	at := map[string]int{}
	for _, l := range n.Leases {
		i, ok := at[l.Device]
		if !ok {
			i = len(a.NICs)
			at[l.Device] = i
			nic := managers.NIC{Device: l.Device, MAC: l.MAC, Metric: l.Metric}
			if nic.Index, err = network.Index(sysfs, l.Device); err != nil {
				return a, err
			}
			lower := network.LowerDevices(sysfs, l.Device)
			nic.Virtual = len(lower) > 0
			a.NICs, a.Alone = append(a.NICs, nic), append(a.Alone, lower...)
		}
		nic := &a.NICs[i]
		nic.Addrs = append(nic.Addrs, l.Addr)
		if l.Broadcast.IsValid() {
			nic.Broadcast = l.Broadcast
		}
		for _, r := range l.Routes {
			nic.Routes = append(nic.Routes, managers.Route(r))
		}
		nic.DNS, nic.Search = append(nic.DNS, l.DNS...), append(nic.Search, l.SearchDomains()...)
	}
	a.Alone = append(a.Alone, n.Untouched...)
	// Two VLANs may stand on the same card, and a VLAN on a NIC with an address
	// of its own.
	slices.Sort(a.Alone)
	a.Alone = slices.DeleteFunc(slices.Compact(a.Alone), func(device string) bool {
		_, ok := at[device]
		return ok
	})
	return a, nil
}
