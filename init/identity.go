package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/identity"
	"github.com/sidusboot/sidusboot/tree"
)

// has tells whether the node is to be given one of config.Identities.
func (n *node) has(kind string) bool { return !n.cfg.IdentityOff[kind] }

// writeIdentity gives the node what sidus.identity= does not leave out, beside
// name, name servers and time.
func (n *node) writeIdentity() {
	machine := n.machine()
	if n.has("entropy") {
		n.optional(stirEntropy(machine))
	}
	if n.has("hosts") && n.lease.Hostname != "" {
		n.optional(writeHosts(roDir, unionDir, n.lease.Hostname, n.lease.Domain, n.lease.Addr.Addr()))
	}
	if n.has("machine-id") {
		n.optional(writeMachineID(roDir, unionDir, identity.MachineID(machine)))
	}
	if n.has("hostid") {
		n.optional(giveOwn(roDir, unionDir, "/etc/hostid", identity.HostID(machine)))
	}
	if n.has("nvme") && tree.At(unionDir).IsDir("/etc/nvme") {
		id := identity.UUID("nvme", machine)
		n.optional(giveOwn(roDir, unionDir, "/etc/nvme/hostnqn", []byte("nqn.2014-08.org.nvmexpress:uuid:"+id+"\n")))
		n.optional(giveOwn(roDir, unionDir, "/etc/nvme/hostid", []byte(id+"\n")))
	}
	if n.has("initiator") {
		n.optional(n.writeInitiator())
	}
	if n.has("ssh-keys") && n.runsSystemd() {
		n.optional(writeSSHKeys(unionDir, "/"))
	}
}

// writeInitiator names the node for the tree's open-iscsi, where it has one. On
// a LUN it is the name of the session that is there.
func (n *node) writeInitiator() error {
	if !tree.At(unionDir).IsDir("/etc/iscsi") {
		return nil
	}
	if n.lun != nil {
		return writeOpenISCSI(unionDir, n.lun.target.Initiator)
	}
	template := n.cfg.ISCSI.Initiator
	if template == "" {
		template = config.DefaultInitiator
	}
	name, err := config.Expand(template, n.leaseFacts())
	if err != nil {
		return fmt.Errorf("sidus.iscsi.initiator=: %w: the tree's own name stays", err)
	}
	return giveOwn(roDir, unionDir, "/etc/iscsi/initiatorname.iscsi", identity.InitiatorName(name))
}

// writeMachineID replaces the tree's machine-id(5), and dbus's copy of it.
func writeMachineID(ro, union string, id []byte) error {
	const name, copied = "/etc/machine-id", "/var/lib/dbus/machine-id"
	if err := giveOwn(ro, union, name, id); err != nil {
		return err
	}
	info, err := tree.At(union).Lstat(copied)
	if err != nil || !info.Mode().IsRegular() {
		return nil // None, or a link to the one above.
	}
	now, err := tree.At(union).ReadFile(name)
	if err != nil {
		return err
	}
	return giveOwn(ro, union, copied, now)
}

// giveOwn writes a file of the node's own over one that is the tree's, or
// empty, or not there. A value that differs from the tree's was given to this node
// before, and stays.
func giveOwn(ro, union, name string, content []byte) error {
	have, empty, err := readUnion(ro, union, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if bytes.Equal(have, content) && !empty {
		return nil
	}
	// "uninitialized" is machine-id(5)'s word for none.
	if text := strings.TrimSpace(string(have)); text != "" && text != "uninitialized" {
		shared, err := tree.At(ro).ReadFile(name)
		if err != nil || !bytes.Equal(have, shared) {
			return nil
		}
	}
	return tree.At(union).Replace(name, content)
}

// writeHosts lets the node's own name lead to its address, and localhost to the
// loopback.
func writeHosts(ro, root, name, domain string, addr netip.Addr) error {
	old, _, err := readUnion(ro, root, "/etc/hosts")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return tree.At(root).Replace("/etc/hosts", []byte(identity.Hosts(string(old), name, domain, addr)))
}

// stirEntropy adds to the kernel's pool what is this node's and this boot's own,
// without claiming that it is secret: a room of equal machines that are
// switched on at once must not draw equal numbers (random(4)).
func stirEntropy(machine string) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s %d %d", machine, time.Now().UnixNano(), clock.Uptime())
	return err
}

// writeOpenISCSI tells the tree's open-iscsi, where it has one, who this node
// is and to leave the node's session alone.
func writeOpenISCSI(root, initiator string) error {
	etc := tree.At(root)
	if _, err := etc.ReadFile("/etc/iscsi/iscsid.conf"); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := etc.Replace("/etc/iscsi/initiatorname.iscsi", identity.InitiatorName(initiator)); err != nil {
		return err
	}
	// The scripts obey the setting only where this file is.
	if err := etc.Replace("/etc/iscsi/iscsi.initramfs", nil); err != nil {
		return err
	}
	const name = "/etc/default/open-iscsi"
	old, err := etc.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if text := identity.OpenISCSIDefaults(string(old)); text != string(old) {
		return etc.Replace(name, []byte(text))
	}
	return nil
}

// writeSSHKeys has systemd make ssh host keys where the tree in root has a
// server. run is where /run is.
func writeSSHKeys(root, run string) error {
	for _, program := range identity.SSHPrograms() {
		if tree.At(root).Executable(program) != nil {
			return nil
		}
	}
	for _, f := range identity.SSHKeys() {
		if err := writeBelow(run, f); err != nil {
			return err
		}
	}
	return nil
}

// writeBelow writes a file below root, which is no foreign tree. It may be there
// from an earlier attempt.
func writeBelow(root string, f identity.File) error {
	path := filepath.Join(root, f.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if f.Link == "" {
		return os.WriteFile(path, []byte(f.Text), 0o644)
	}
	if err := os.Symlink(f.Link, path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
