// Package identity has the texts that make a node differ from the others that
// run the same tree: machine-id, hostid, hosts, resolv.conf, fstab, what klibc
// leaves in /run, and settings for the tree's ssh server and open-iscsi. It makes
// texts and touches no file; managers does the same for network managers.
//
// Identifiers are derived from the machine, so that no two nodes of a tree have
// the same one and a node has the same one at every boot, also where nothing that
// it writes is kept.
package identity

import (
	"encoding/binary"
	"fmt"

	"github.com/sidusboot/sidusboot/digest"
)

// derive makes 16 bytes of a machine's own for one purpose.
func derive(purpose, machine string) (id [16]byte) {
	sum := digest.SHA256([]byte("sidusboot " + purpose + "\n" + machine))
	copy(id[:], sum)
	// As a random UUID looks (RFC 9562, section 5.4); machine-id(5) wants that.
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// UUID is the machine's identifier for one purpose. Machines are told apart by
// their descriptions.
func UUID(purpose, machine string) string {
	id := derive(purpose, machine)
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// MachineID is the content of /etc/machine-id, see machine-id(5).
func MachineID(machine string) string { return fmt.Sprintf("%x\n", derive("machine-id", machine)) }

// HostID is the content of /etc/hostid as gethostid(3) reads it: a number of 32
// bits in the machine's own order, which must not be 0 (spl.conf(4), spl_hostid).
func HostID(machine string) string {
	id := derive("hostid", machine)
	return string(binary.NativeEndian.AppendUint32(nil, binary.BigEndian.Uint32(id[:])|1))
}
