package identity

import "path"

// Host keys prove to a node's clients that it is the node, so no other machine may know
// them: they are made from the node's own randomness, by the tree's ssh-keygen,
// and not derived from anything that others can know (the tree, the image, a MAC
// or a serial number). They stay where /rw is kept. Debian 13 makes them at the
// first boot only (ConditionFirstBoot=), which a node with a machine-id never
// has, and Debian 12 only when the package is installed. To let the first boot
// hold instead would have systemd preset every unit of the tree and ask for a
// time zone and a password on the console (systemd-firstboot(1)).

// sshKeysUnit makes them before sshd looks for them.
const (
	sshKeysName = "sidusboot-ssh-keys.service"
	sshKeysUnit = `# Written by sidusboot at boot: the tree has no ssh host keys, so that nodes do
# not share theirs. sidus.identity=-ssh-keys leaves this unit out.
[Unit]
Description=This node's own ssh host keys
Before=ssh.service sshd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '` + sshKeysScript + `'
`

	// sshKeysScript makes keys where there is none, and those that a power cut has
	// left empty. A new one is on the disk before a client gets to see it. In a
	// unit a dollar is written twice.
	sshKeysScript = `for key in /etc/ssh/ssh_host_*_key; do [ -s "$$key" ] || { /usr/bin/ssh-keygen -A && { sync -f /etc/ssh || true; }; exit; }; done`

	// sshInstance is for the service that a socket starts for each connection.
	sshInstance = "# Written by sidusboot at boot.\n[Unit]\nAfter=" + sshKeysName + "\n"
)

// sshUnits want the keys. A socket must not wait for them: it is ready before
// what is no part of the early boot.
var sshUnits = []string{"ssh.service", "sshd.service", "ssh.socket", "sshd.socket"}

// sshInstances are those services.
var sshInstances = []string{"ssh@.service", "sshd@.service"}

// systemdUnits is where a boot leaves units for systemd (systemd.unit(5)).
const systemdUnits = "/run/systemd/system"

// SSHPrograms are those that a tree must have for SSHKeys to be of use.
func SSHPrograms() []string { return []string{"/usr/sbin/sshd", "/usr/bin/ssh-keygen"} }

// SSHKeys has systemd make ssh host keys before a server needs them, where there
// is none. All goes below /run.
func SSHKeys() []File {
	files := []File{{Path: path.Join(systemdUnits, sshKeysName), Text: sshKeysUnit}}
	for _, unit := range sshUnits {
		files = append(files, File{Path: path.Join(systemdUnits, unit+".wants", sshKeysName), Link: "../" + sshKeysName})
	}
	for _, unit := range sshInstances {
		files = append(files, File{Path: path.Join(systemdUnits, unit+".d/sidusboot-ssh-keys.conf"), Text: sshInstance})
	}
	return files
}

// A File is a text and where it goes, or a link and what it leads to.
type File struct{ Path, Text, Link string }
