package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/resident"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/source"
	"github.com/sidusboot/sidusboot/watchdog"
)

// A node is this machine while it boots.
type node struct {
	log    *bootlog.Logger
	report *bootlog.Report
	stages *bootlog.Stages

	cfg    config.Config
	system *system
	nfs    *nfs.Mounter

	// drivers are those of the devices that were loaded; driverTrouble is what
	// was told of some that were not.
	drivers       []string
	driverTrouble string

	lease  *network.Lease
	others []*network.Lease // of NICs that do not lead to the root
	// sources are the servers of the tree as they were given, root is the one in
	// use.
	sources []source.Source
	root    source.Root
	// boots is what sidus.server=boot found last.
	boots bootServer
	lun   *rwlayer.LUN // nil unless sidus.rw=iscsi
	// names are looked up for the portals of the LUN's target.
	names *resident.PortalNames
	union chan unionResult
	// loaded is closed when the modules that load in the background are in.
	loaded chan struct{}
	// ib is closed when the InfiniBand devices have their addresses.
	ib chan struct{}
	// ibOwn is the node's address that those addresses are made of.
	ibOwn netip.Addr
	// meter is for the watchdog of the stage.
	meter *watchdog.Meter
	// end is reboot, but in tests.
	end func(cmd int)
}

// A unionResult is the kind of union that the kernel can do.
type unionResult struct {
	kind overlay.Kind
	err  error
}

func newNode(log *bootlog.Logger) *node {
	n := &node{log: log, report: &bootlog.Report{}, meter: &watchdog.Meter{}}
	n.stages = &bootlog.Stages{Log: log, Report: n.report}
	n.system = &system{meter: n.meter}
	n.end = n.reboot
	n.nfs = &nfs.Mounter{System: n.system, Logf: log.Errorf, Waiting: n.waitForMore}
	return n
}

// boot runs all stages. It does not return: it ends in the real init, or in
// a restart of the machine.
func (n *node) boot() {
	if err := n.early(); err != nil {
		n.log.Errorf("%v", err)
		n.restart(n.panicDelay())
	}
	n.fatalOn(n.stages.Run("config", n.configure))
	n.fatalOn(n.stages.Run("modules", n.openModules))
	for attempt := 1; ; attempt++ {
		n.report.Attempts = attempt
		err := n.prepare()
		if err == nil {
			break
		}
		n.failed(err, attempt)
		n.undo()
	}
	n.fatalOn(n.leaveResident())
	if n.cfg.Break {
		n.log.Errorf("rd.break: stopping before the real init")
		n.shell("continues the boot")
	}
	n.watchOver("handover")
	err := n.handover()
	// Mounts have moved by now: there is no way back.
	n.log.Errorf("handover: %v", err)
	n.restart(n.panicDelay())
}

// prepare makes the union, complete and tested, at /aufs. It can be run again
// after undo.
func (n *node) prepare() error {
	if err := n.watched("network", n.bringNetworkUp); err != nil {
		return err
	}
	if err := n.watched("nfs", n.mountRoot); err != nil {
		return err
	}
	if err := n.watched("rw", n.mountRW); err != nil {
		return err
	}
	if err := n.watched("union", n.mountUnion); err != nil {
		return err
	}
	return n.watched("identity", n.writeFiles)
}

// undo takes away what a failed attempt left. The network stays: a link that
// goes down and up starts the switch's spanning tree again.
func (n *node) undo() {
	defer n.watchOver("undo")()
	if err := mounts.Detach(unionDir, fullDir, rwDir, lookDir); err != nil {
		n.log.Errorf("%v", err)
	}
	n.dropLUN()
	if err := mounts.Detach(checkDir, roDir); err != nil {
		n.log.Errorf("%v", err)
	}
}

// dropLUN ends the session with the node's target, if there is one.
func (n *node) dropLUN() {
	if n.lun == nil {
		return
	}
	if err := n.lun.Detach(); err != nil {
		n.log.Errorf("%v", err)
	}
	n.lun = nil
}

// early mounts what everything else needs.
func (n *node) early() error {
	if err := mountEarly(); err != nil {
		return fmt.Errorf("early mounts: %w", err)
	}
	if err := n.log.OpenKmsg(); err != nil {
		return err
	}
	n.background(func() {
		if err := seedRandom(); err != nil {
			n.log.Errorf("%v", err)
		}
	})
	return nil
}

// configure reads the parameters.
func (n *node) configure() (string, error) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", err
	}
	file, err := os.ReadFile(image.Config)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	n.cfg, err = config.Parse(string(cmdline), string(file))
	n.system.initProgram = n.cfg.Init
	if n.cfg.Events != "" {
		if err := n.stages.OpenEvents(n.cfg.Events); err != nil {
			n.cfg.Notes = append(n.cfg.Notes, fmt.Sprintf("sidus.events=%s: %v", n.cfg.Events, err))
		}
	}
	for _, note := range n.cfg.Notes {
		n.log.Errorf("%s", note)
	}
	n.report.Notes = n.cfg.Notes
	return "", err
}

// fatalOn ends the boot by the policy where err is not nil: another attempt would
// fail as well.
func (n *node) fatalOn(err error) {
	if err == nil {
		return
	}
	n.fatal(err)
}

// panicDelay is panic= as the kernel means it, for a failure after which
// nothing else is left: default 30 s, and 0 waits for ever.
func (n *node) panicDelay() time.Duration {
	if p := n.cfg.Panic; p != nil {
		if *p == 0 {
			return -1
		}
		return time.Duration(max(*p, 0)) * time.Second
	}
	return defaultDelay
}
