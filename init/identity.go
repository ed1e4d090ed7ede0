package main

import (
	"errors"
	"fmt"
	"io/fs"
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
func (n *node) writeIdentity(files tree.Union) {
	machine := n.machine()
	if n.has("entropy") {
		n.optional(stirEntropy(machine))
	}
	if name := n.lease.Hostname; name != "" && n.has("hosts") {
		n.optional(files.Edit("/etc/hosts", func(old string) string {
			return identity.Hosts(old, name, n.lease.Domain, n.lease.Addr.Addr())
		}))
	}
	if n.has("machine-id") {
		n.optional(writeMachineID(files, identity.MachineID(machine)))
	}
	if n.has("hostid") {
		n.optional(writeOwn(files, "/etc/hostid", identity.HostID(machine)))
	}
	if n.has("nvme") && files.IsDir("/etc/nvme") {
		id := identity.UUID("nvme", machine)
		n.optional(writeOwn(files, "/etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:"+id+"\n"))
		n.optional(writeOwn(files, "/etc/nvme/hostid", id+"\n"))
	}
	if n.has("initiator") && files.IsDir("/etc/iscsi") {
		n.optional(n.writeInitiator(files))
	}
	if n.has("ssh-keys") && n.runsSystemd() {
		n.optional(writeSSHKeys(files.Tree, "/"))
	}
}

// writeOwn writes a file of the node's own over one that is the tree's, or empty,
// or not there. A value that differs from the tree's was given to this node before,
// and stays.
func writeOwn(files tree.Union, name, content string) error {
	return files.Edit(name, func(old string) string {
		// "uninitialized" is none (machine-id(5)).
		if text := strings.TrimSpace(old); text == "" || text == "uninitialized" {
			return content
		}
		if shared, err := files.Lower.ReadFile(name); err == nil && string(shared) == old {
			return content
		}
		return old
	})
}

// writeMachineID replaces the tree's machine-id(5), and dbus's copy of it.
func writeMachineID(files tree.Union, id string) error {
	const name, copied = "/etc/machine-id", "/var/lib/dbus/machine-id"
	if err := writeOwn(files, name, id); err != nil {
		return err
	}
	info, err := files.Lstat(copied)
	if err != nil || !info.Mode().IsRegular() {
		return nil // None, or a link to the one above.
	}
	now, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	return writeOwn(files, copied, string(now))
}

// writeInitiator names the node for the tree's open-iscsi. On a LUN it is the name
// of the session that is there.
func (n *node) writeInitiator(files tree.Union) error {
	if n.lun != nil {
		return writeOpenISCSI(files, n.lun.Target.Initiator)
	}
	template := n.cfg.ISCSI.Initiator
	if template == "" {
		template = config.DefaultInitiator
	}
	name, err := config.Expand(template, n.leaseFacts())
	if err != nil {
		return fmt.Errorf("sidus.iscsi.initiator=: %w: the tree's own name stays", err)
	}
	return writeOwn(files, "/etc/iscsi/initiatorname.iscsi", identity.InitiatorName(name))
}

// writeOpenISCSI tells the tree's open-iscsi, where it has one, who this node
// is and to leave the node's session alone.
func writeOpenISCSI(files tree.Union, initiator string) error {
	if _, err := files.ReadFile("/etc/iscsi/iscsid.conf"); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := files.Replace("/etc/iscsi/initiatorname.iscsi", []byte(identity.InitiatorName(initiator))); err != nil {
		return err
	}
	// The scripts obey the setting only where this file is.
	if err := files.Replace("/etc/iscsi/iscsi.initramfs", nil); err != nil {
		return err
	}
	return files.Edit("/etc/default/open-iscsi", identity.OpenISCSIDefaults)
}

// writeSSHKeys has systemd make ssh host keys where the tree has a server. run is
// where /run is.
func writeSSHKeys(t tree.Tree, run string) error {
	for _, program := range identity.SSHPrograms() {
		if t.Executable(program) != nil {
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

// stirEntropy adds to the kernel's pool what is this node's and this boot's own,
// without claiming that it is secret: many equal machines that are switched on at
// once must not draw equal numbers (random(4)).
func stirEntropy(machine string) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s %d %d", machine, time.Now().UnixNano(), clock.Uptime())
	return err
}
