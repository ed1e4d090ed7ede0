package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/managers"
)

// adviseManagers tells every network manager that the tree may have to keep the
// NIC as it is, or nothing at all with sidus.lease=tree. What is strange in the
// tree is told about, and the boot goes on: that manager may never run.
func (n *node) adviseManagers() error {
	var devices []string
	if n.cfg.LeaseOwner == config.OwnerResident {
		nic, err := n.nic()
		if err != nil {
			return fmt.Errorf("network managers: %w", err)
		}
		unit, err := readUnit(unionDir, managers.NetworkingUnit)
		if err != nil {
			n.log.errorf("%s may take %s down: %v", managers.NetworkingUnit, nic.Device, err)
		}
		if err := writeAdvice("/", append(nic.Files(), nic.Networking(string(unit))...)); err != nil {
			return fmt.Errorf("network managers: %w", err)
		}
		devices = nic.Devices()
	}
	for _, err := range editTree(unionDir, devices) {
		n.log.errorf("%v", err)
	}
	return nil
}

// nic is the lease as the managers are to see it.
func (n *node) nic() (managers.NIC, error) {
	l := n.lease
	nic := managers.NIC{
		Device: l.Device, MAC: l.MAC, Addrs: []netip.Prefix{l.Addr}, Broadcast: l.Broadcast,
		DNS: l.DNS, Search: searchList(l),
	}
	for _, r := range l.Routes {
		nic.Routes = append(nic.Routes, managers.Route(r))
	}
	text, err := os.ReadFile(filepath.Join("/sys/class/net", l.Device, "ifindex"))
	if err != nil {
		return nic, err
	}
	nic.Index, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return nic, err
}

// writeAdvice writes files below root, instead of what an earlier attempt left
// there: it may have been about another NIC.
func writeAdvice(root string, files []managers.File) error {
	old, err := filepath.Glob(filepath.Join(root, "run/systemd/system/*/sidusboot.conf"))
	if err != nil {
		return err
	}
	for _, name := range append(old, filepath.Join(root, "run/NetworkManager"), filepath.Join(root, "run/network")) {
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
func readUnit(tree, name string) ([]byte, error) {
	for _, dir := range []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		text, err := readFile(tree, filepath.Join(dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, nil
}

// editTree changes the files of those managers that read nothing below /run.
// Without devices it takes back what an earlier boot from a kept upper layer
// has changed.
func editTree(tree string, devices []string) []error {
	var errs []error
	for _, e := range managers.Edits() {
		if !hasProgram(tree, e.Programs) {
			continue
		}
		if err := edit(tree, e, devices); err != nil {
			errs = append(errs, fmt.Errorf("%s is not told about the NIC and may take it down: %w", e.Manager, err))
		}
	}
	return errs
}

func edit(tree string, e managers.Edit, devices []string) error {
	old, err := readFile(tree, e.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch text := e.Apply(string(old), devices); {
	case text == string(old):
		return nil
	case text == "":
		dir, err := resolve(tree, filepath.Dir(e.Path))
		if err != nil {
			return err
		}
		return os.Remove(filepath.Join(tree, dir, filepath.Base(e.Path)))
	default:
		return replaceFile(tree, e.Path, []byte(text))
	}
}

// hasProgram tells whether one of the programs is in the tree.
func hasProgram(tree string, names []string) bool {
	for _, name := range names {
		if _, err := resolve(tree, name); err == nil {
			return true
		}
	}
	return false
}
