package main

import (
	"time"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/network/rtnetlink"
	"github.com/sidusboot/sidusboot/resident"
	"github.com/sidusboot/sidusboot/tree"
)

// leaveResident calls startResident once all modules are in: none can be loaded after the
// switch.
func (n *node) leaveResident() error {
	defer n.watchOver("resident")()
	n.awaitModules()
	n.waitFor("the resident process")
	return n.startResident()
}

func (n *node) awaitModules() {
	n.waitFor("the modules that load in the background")
	<-n.loaded
}

// startResident leaves behind what the node needs after the switch: the keeper,
// sidusnode, and the shutdown, where /rw is a volume.
func (n *node) startResident() error {
	volume := n.report.RW.Kind != "tmpfs"
	state := resident.State{Leases: n.leasesToRenew(), Second: time.Duration(n.slot()%60_000) * time.Millisecond}
	if n.lun != nil {
		var err error
		if state.Session, err = resident.NewSession(n.lun.ID(), n.lun.Target, n.report.RW.Device, n.reservationKey(), n.names); err != nil {
			return err
		}
	}
	if err := resident.Install(volume, tree.At(unionDir).RunsSystemd(n.cfg.Init), state.Session); err != nil {
		return err
	}
	if err := n.leaveNode(); err != nil {
		return err
	}
	if n.lun != nil {
		n.lun.Stop()
	}
	if err := resident.Start(state); err != nil {
		return err
	}
	if n.lun == nil {
		return nil
	}
	// The keeper listens from here on; two listeners would both answer.
	return n.lun.Close()
}

// leasesToRenew are the leases that end unless somebody renews them, and that no
// manager of the tree is to have.
func (n *node) leasesToRenew() (all []*network.LeaseState) {
	if n.cfg.LeaseOwner == config.OwnerTree {
		return nil
	}
	for _, l := range n.leases() {
		link, err := rtnetlink.ByName(l.Device)
		if err != nil {
			n.log.Errorf("the lease on %s will not be renewed: %v", l.Device, err)
			continue
		}
		if t := l.State(link.Index, l.Hostname); t != nil {
			all = append(all, t)
		}
	}
	return all
}
