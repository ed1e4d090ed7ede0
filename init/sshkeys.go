package main

import (
	"os"
	"path/filepath"

	"github.com/sidusboot/sidusboot/tree"
)

// Host keys tell a node's clients that it is the node, so no other machine may know
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

// adviseSSH has systemd make ssh host keys where the tree in root has a server
// and none. run is where /run is.
func adviseSSH(root, run string) error {
	t := tree.At(root)
	for _, program := range []string{"/usr/sbin/sshd", "/usr/bin/ssh-keygen"} {
		if t.Executable(program) != nil {
			return nil
		}
	}
	dir := filepath.Join(run, unitDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, sshKeysName), []byte(sshKeysUnit), 0o644); err != nil {
		return err
	}
	for _, unit := range sshUnits {
		wants := filepath.Join(dir, unit+".wants")
		if err := os.MkdirAll(wants, 0o755); err != nil {
			return err
		}
		link := filepath.Join(wants, sshKeysName)
		if err := os.Symlink("../"+sshKeysName, link); err != nil && !os.IsExist(err) {
			return err
		}
	}
	for _, unit := range sshInstances {
		extra := filepath.Join(dir, unit+".d")
		if err := os.MkdirAll(extra, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(extra, "sidusboot-ssh-keys.conf"), []byte(sshInstance), 0o644); err != nil {
			return err
		}
	}
	return nil
}
