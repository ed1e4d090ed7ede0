package main

import (
	"fmt"
	"slices"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/managers"
	"github.com/sidusboot/sidusboot/network"
)

// adviseManagers tells every network manager that the tree may have to keep the
// NICs as they are, or none with sidus.lease=tree. An error is reported and the
// boot goes on: that manager may never run.
func (n *node) adviseManagers() error {
	advice, err := n.advice("/sys")
	if err != nil {
		return fmt.Errorf("network managers: %w", err)
	}
	n.optional(managers.Write("/", []managers.File{advice.KeepNames()}))
	if n.cfg.LeaseOwner == config.OwnerTree {
		advice = managers.Advice{}
	} else if err := n.tellManagers(advice); err != nil {
		n.optional(fmt.Errorf("network managers: %w", err))
	}
	for _, err := range managers.EditTree(unionDir, advice.Devices()) {
		n.optional(err)
	}
	return nil
}

// tellManagers writes what goes below /run.
func (n *node) tellManagers(advice managers.Advice) error {
	unit, err := managers.ReadUnit(unionDir, managers.NetworkingUnit)
	if err != nil {
		n.log.Errorf("%s may take %s down: %v", managers.NetworkingUnit, n.lease.Device, err)
	}
	if err := managers.RemoveOld("/"); err != nil {
		return err
	}
	return managers.Write("/", append(advice.Files(), advice.Networking(string(unit))...))
}

// leases are the node's own, the one that leads to the root first.
func (n *node) leases() []*network.Lease {
	return append([]*network.Lease{n.lease}, n.others...)
}

// advice is the leases as the managers are to see them.
func (n *node) advice(sysfs string) (a managers.Advice, err error) {
	at := map[string]int{}
	for _, l := range n.leases() {
		i, ok := at[l.Device]
		if !ok {
			i = len(a.NICs)
			at[l.Device] = i
			nic := managers.NIC{Device: l.Device, MAC: l.MAC, Metric: l.Metric}
			if nic.Index, err = network.Index(sysfs, l.Device); err != nil {
				return a, err
			}
			lower := network.Lower(sysfs, l.Device)
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
	for _, ib := range n.cfg.IBs {
		a.Alone = append(a.Alone, ib.Device)
	}
	// Two VLANs may stand on the same card, and a VLAN on a NIC with an address
	// of its own.
	slices.Sort(a.Alone)
	a.Alone = slices.DeleteFunc(slices.Compact(a.Alone), func(device string) bool {
		_, ok := at[device]
		return ok
	})
	return a, nil
}
