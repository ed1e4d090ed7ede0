package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/kmod"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
)

// openModules reads what the image has for this kernel.
func (n *node) openModules() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	n.report.Kernel, n.report.Version = release, version
	if len(n.cfg.Bonds) > 0 && n.cfg.Modules["bonding"] == "" {
		n.cfg.Modules["bonding"] = "max_bonds=0" // Otherwise it makes a bond0 by itself.
	}
	loader, err := kmod.Open("/", release, kmod.Options{Params: n.cfg.Modules, Blacklist: n.cfg.Blacklist})
	if err != nil {
		return "", err
	}
	n.system.loader = loader
	n.report.Profile = loader.Profile()
	loader.LoadFirst()
	for _, name := range n.cfg.Load {
		if err := loader.Load(name); err != nil {
			n.log.Errorf("%v", err)
		}
	}
	return release, nil
}

// loadUnion loads, in the background, the modules that the network does not need.
func (n *node) loadUnion(version string) {
	n.union = make(chan unionResult, 1)
	n.loaded = make(chan struct{})
	n.background(func() {
		defer close(n.loaded)
		// NFS is needed first. An error comes again when it is mounted.
		_ = n.system.Load("nfs")
		if version != "" {
			_ = n.system.Load(nfs.Module(version))
		}
		kind, err := overlay.Choose(n.system, unionWanted(n.cfg.Union))
		n.union <- unionResult{kind, err}
		if err := n.system.loader.LoadNamed(); err != nil {
			n.log.Errorf("initrdgen build --module: %v", err)
		}
		switch n.cfg.RW.Kind {
		case "iscsi":
			_ = n.system.loader.Load(append(iscsiModules, "ext4")...)
		case "device":
			n.loadDisks(n.system.loader.USBHosts())
			_ = n.system.loader.Load("ext4")
		}
	})
}

func unionWanted(u config.Union) overlay.Kind {
	switch u {
	case config.UnionAufs:
		return overlay.Aufs
	case config.UnionOverlay:
		return overlay.Overlay
	}
	return ""
}
