package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/tree"
)

// A node's own names are made of its machine, so that no two nodes of a tree
// have the same and a node has the same at every boot, also where nothing that
// it writes is kept. Where the union has a value that differs from the tree's,
// the node has been given one of its own, which stays.

// has tells whether the node is to be given one of config.Identities.
func (n *node) has(identity string) bool { return !n.cfg.IdentityOff[identity] }

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
		n.optional(writeMachineID(roDir, unionDir, machineID(machine)))
	}
	if n.has("hostid") {
		n.optional(giveOwn(roDir, unionDir, "/etc/hostid", hostID(machine)))
	}
	if n.has("nvme") && tree.At(unionDir).IsDir("/etc/nvme") {
		id := uuidText(derive("nvme", machine))
		n.optional(giveOwn(roDir, unionDir, "/etc/nvme/hostnqn", []byte("nqn.2014-08.org.nvmexpress:uuid:"+id+"\n")))
		n.optional(giveOwn(roDir, unionDir, "/etc/nvme/hostid", []byte(id+"\n")))
	}
	if n.has("initiator") {
		n.optional(n.writeInitiator())
	}
	if n.has("ssh-keys") && n.runsSystemd() {
		n.optional(adviseSSH(unionDir, "/"))
	}
}

// writeInitiator names the node for the tree's open-iscsi, where it has one. On
// a LUN it is the name of the session that is there.
func (n *node) writeInitiator() error {
	if !tree.At(unionDir).IsDir("/etc/iscsi") {
		return nil
	}
	if n.lun != nil {
		return adviseOpenISCSI(unionDir, n.lun.target.Initiator)
	}
	template := n.cfg.ISCSI.Initiator
	if template == "" {
		template = config.DefaultInitiator
	}
	name, err := config.Expand(template, n.leaseFacts())
	if err != nil {
		return fmt.Errorf("sidus.iscsi.initiator=: %w: the tree's own name stays", err)
	}
	return giveOwn(roDir, unionDir, "/etc/iscsi/initiatorname.iscsi", []byte("InitiatorName="+name+"\n"))
}

// derive is 16 bytes of this machine's own for one purpose.
func derive(purpose, machine string) (id [16]byte) {
	sum := sha256.Sum256([]byte("sidusboot " + purpose + "\n" + machine))
	copy(id[:], sum[:])
	// As a random UUID looks (RFC 9562, section 5.4); machine-id(5) wants that.
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

func uuidText(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func machineID(machine string) []byte { return fmt.Appendf(nil, "%x\n", derive("machine-id", machine)) }

// hostID is /etc/hostid as gethostid(3) reads it: a number of 32 bits in the
// machine's own order, which must not be 0 (spl.conf(4), spl_hostid).
func hostID(machine string) []byte {
	id := derive("hostid", machine)
	return binary.NativeEndian.AppendUint32(nil, binary.BigEndian.Uint32(id[:])|1)
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
// empty, or not there.
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

// hostsMark ends the line that is ours in /etc/hosts. What is kept from boot to
// boot may have one with another address.
const hostsMark = " # by sidusboot"

// writeHosts lets the node's own name lead to its address, and localhost to the
// loopback.
func writeHosts(ro, root, name, domain string, addr netip.Addr) error {
	old, _, err := readUnion(ro, root, "/etc/hosts")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return tree.At(root).Replace("/etc/hosts", []byte(withOwnName(string(old), name, domain, addr)))
}

// withOwnName is a hosts(5) with a line for the node.
func withOwnName(old, name, domain string, addr netip.Addr) string {
	var b strings.Builder
	localhost := false
	for line := range strings.Lines(old) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasSuffix(line, hostsMark) {
			continue
		}
		fields := strings.Fields(line)
		localhost = localhost || len(fields) > 1 && fields[0] == "127.0.0.1"
		b.WriteString(line + "\n")
	}
	if !localhost {
		b.WriteString("127.0.0.1\tlocalhost" + hostsMark + "\n")
	}
	names := name
	if domain != "" && !strings.Contains(name, ".") && validHostname(domain) {
		names = name + "." + domain + " " + name
	}
	return b.String() + addr.String() + "\t" + names + hostsMark + "\n"
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
	_, err = fmt.Fprintf(f, "%s %d %d", machine, time.Now().UnixNano(), uptime())
	return err
}
