package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/managers"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/tree"
)

// adviseManagers tells every network manager that the tree may have to keep the
// NICs as they are, or nothing at all with sidus.lease=tree. What is strange in
// the tree is told about, and the boot goes on: that manager may never run.
func (n *node) adviseManagers() error {
	advice, err := n.advice("/sys")
	if err != nil {
		return fmt.Errorf("network managers: %w", err)
	}
	n.optional(keepNames(advice))
	if n.cfg.LeaseOwner == config.OwnerTree {
		advice = managers.Advice{}
	} else if err := n.tellManagers(advice); err != nil {
		n.optional(fmt.Errorf("network managers: %w", err))
	}
	for _, err := range editTree(unionDir, advice.Devices()) {
		n.optional(err)
	}
	return nil
}

// tellManagers writes what goes below /run.
func (n *node) tellManagers(advice managers.Advice) error {
	unit, err := readUnit(unionDir, managers.NetworkingUnit)
	if err != nil {
		n.log.Errorf("%s may take %s down: %v", managers.NetworkingUnit, n.lease.Device, err)
	}
	return writeAdvice("/", append(advice.Files(), advice.Networking(string(unit))...))
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
			if nic.Index, err = deviceIndex(sysfs, l.Device); err != nil {
				return a, err
			}
			lower := lowerDevices(sysfs, l.Device)
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

func deviceIndex(sysfs, device string) (int, error) {
	text, err := os.ReadFile(filepath.Join(sysfs, "class/net", device, "ifindex"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// lowerDevices are those that a VLAN or a bond stands on, down to the cards
// (Documentation/ABI/testing/sysfs-class-net, lower_*).
func lowerDevices(sysfs, device string) []string {
	const prefix = "lower_"
	links, err := filepath.Glob(filepath.Join(sysfs, "class/net", device, prefix+"*"))
	if err != nil {
		return nil
	}
	var all []string
	for _, link := range links {
		lower := strings.TrimPrefix(filepath.Base(link), prefix)
		all = append(append(all, lower), lowerDevices(sysfs, lower)...)
	}
	return all
}

// keepNames keeps udev of the tree from renaming what the root hangs on.
// Kernels before 6.3 refuse that while it is up, newer ones do it, and
// /run/net-eth0.conf and what the administrator wrote for eth0 point nowhere.
func keepNames(a managers.Advice) error {
	dir := "/run/systemd/network"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := "[Match]\nOriginalName=" + strings.Join(a.Devices(), " ") + "\n\n" +
		"[Link]\nNamePolicy=keep\nAlternativeNamesPolicy=database onboard slot path\nMACAddressPolicy=none\n"
	return os.WriteFile(filepath.Join(dir, "00--sidusboot.link"), []byte(text), 0o644)
}

// writeAdvice writes files below root, instead of what an earlier attempt left
// there: it may have been about another NIC.
func writeAdvice(root string, files []managers.File) error {
	remove := []string{filepath.Join(root, "run/NetworkManager"), filepath.Join(root, "run/network")}
	for _, pattern := range []string{"run/systemd/system/*/sidusboot.conf", "run/systemd/network/00--sidusboot*.network"} {
		old, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		remove = append(remove, old...)
	}
	for _, name := range remove {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	for _, f := range files {
		path := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(f.Text), f.Mode); err != nil {
			return err
		}
	}
	return nil
}

// readUnit reads a unit of the tree where systemd would find it
// (systemd.unit(5)). A tree without it gives nothing.
func readUnit(root, name string) ([]byte, error) {
	for _, dir := range []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		text, err := tree.At(root).ReadFile(filepath.Join(dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, nil
}

// editTree changes the files of those managers that read nothing below /run.
// Without devices it takes back what an earlier boot from a kept upper layer
// has changed.
func editTree(root string, devices []string) []error {
	var errs []error
	for _, e := range managers.Edits() {
		if !hasProgram(root, e.Programs) {
			continue
		}
		if err := edit(root, e, devices); err != nil {
			errs = append(errs, fmt.Errorf("%s is not told about the NIC and may take it down: %w", e.Manager, err))
		}
	}
	return errs
}

func edit(root string, e managers.Edit, devices []string) error {
	old, err := tree.At(root).ReadFile(e.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch text := e.Apply(string(old), devices); {
	case text == string(old):
		return nil
	case text == "":
		return tree.At(root).Remove(e.Path)
	default:
		return tree.At(root).Replace(e.Path, []byte(text))
	}
}

// hasProgram tells whether one of the programs is in the tree.
func hasProgram(root string, names []string) bool {
	for _, name := range names {
		if _, err := tree.At(root).Stat(name); err == nil {
			return true
		}
	}
	return false
}
