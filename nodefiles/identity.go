package nodefiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/identity"
	"github.com/sidusboot/sidusboot/tree"
)

// writeIdentity gives the node its identifiers and what Omit does not leave out,
// beside name, name servers and time.
func (n *Node) writeIdentity(files tree.Union) (errs []error) {
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if n.has("entropy") {
		add(stirEntropy(n.Machine))
	}
	lease := n.Leases[0]
	if name := lease.Hostname; name != "" && n.has("hosts") {
		add(files.Edit("/etc/hosts", func(old string) string {
			return identity.Hosts(old, name, lease.Domain, lease.Addr.Addr())
		}))
	}
	if n.has("machine-id") {
		add(writeMachineID(files, identity.MachineID(n.Machine)))
	}
	if n.has("hostid") {
		add(writeOwn(files, "/etc/hostid", identity.HostID(n.Machine)))
	}
	if n.has("nvme") && files.IsDir("/etc/nvme") {
		id := identity.UUID("nvme", n.Machine)
		add(writeOwn(files, "/etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:"+id+"\n"))
		add(writeOwn(files, "/etc/nvme/hostid", id+"\n"))
	}
	if n.Initiator != "" && n.has("initiator") && files.IsDir("/etc/iscsi") {
		add(n.writeInitiator(files))
	}
	if n.has("ssh-keys") && files.RunsSystemd(n.Init) {
		add(writeSSHKeys(files.Tree, "/"))
	}
	return errs
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

// writeInitiator names the node for the tree's open-iscsi.
func (n *Node) writeInitiator(files tree.Union) error {
	if n.HasSession {
		return writeOpenISCSI(files, n.Initiator)
	}
	return writeOwn(files, "/etc/iscsi/initiatorname.iscsi", identity.InitiatorName(n.Initiator))
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
