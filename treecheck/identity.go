package treecheck

import (
	"io/fs"
	"slices"
	"strings"
)

// identity finds what should be different on each node.
func (c *check) identity() {
	if b, err := c.tree.ReadFile("/etc/machine-id"); err == nil {
		if id := strings.TrimSpace(string(b)); id != "" && id != "uninitialized" {
			c.add(Finding{Name: "machine-id", Severity: Note, Problem: "the tree has a machine-id",
				Remedy: "nothing: each node gets its own; with sidus.identity=-machine-id all would have this one: empty the file"}, "/etc/machine-id")
		}
	}
	if keys := c.glob("/etc/ssh/ssh_host_*_key"); len(keys) > 0 {
		c.add(Finding{Name: "ssh-keys", Severity: Warning, Problem: "the tree has ssh host keys: all nodes have them, and every node can read them",
			Remedy: "remove them: rm etc/ssh/ssh_host_*"}, keys...)
	}
	for _, name := range []string{"/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed"} {
		if info, err := c.tree.Stat(name); err == nil && info.Size() > 0 {
			c.add(Finding{Name: "random-seed", Severity: Warning, Problem: "the tree has a random seed: all nodes begin with the same", Remedy: "remove it"}, name)
		}
	}
	if b, err := c.tree.ReadFile("/etc/hostname"); err == nil && strings.TrimSpace(string(b)) != "" {
		c.add(Finding{Name: "hostname", Severity: Note, Problem: "the tree has a host name, " + plain(strings.TrimSpace(string(b))),
			Remedy: "nodes to which DHCP gives no name will all be called so: empty /etc/hostname, or see that DHCP gives names"}, "/etc/hostname")
	}
}

// fstab finds lines about disks, which the machine had that the tree was copied
// from.
func (c *check) fstab() {
	b, err := c.tree.ReadFile("/etc/fstab")
	if err != nil {
		return
	}
	var disks []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || len(fields) > 3 && hasOption(fields[3], "nofail", "noauto") {
			continue
		}
		if fields[1] == "/" {
			continue // /init takes it away.
		}
		for _, prefix := range []string{"/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="} {
			if strings.HasPrefix(fields[0], prefix) {
				disks = append(disks, "/etc/fstab: "+strings.Join(fields[:2], " "))
			}
		}
	}
	c.add(Finding{Name: "fstab", Severity: Warning, Problem: "fstab names disks: a node without such a disk waits for it and ends in emergency mode",
		Remedy: "remove these lines, or add nofail to their options"}, disks...)
}

func hasOption(options string, names ...string) bool {
	return slices.ContainsFunc(strings.Split(options, ","), func(o string) bool { return slices.Contains(names, o) })
}

func (c *check) resolver() {
	info, err := c.tree.Lstat("/etc/resolv.conf")
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return
	}
	target, err := c.tree.Readlink("/etc/resolv.conf")
	if err != nil || strings.Contains(target, "/run/") || strings.HasPrefix(target, "run/") {
		return // A service of the node makes it.
	}
	if _, err := c.tree.Stat("/etc/resolv.conf"); err != nil {
		c.add(Finding{Name: "resolv.conf", Severity: Note, Problem: "/etc/resolv.conf is a link to " + plain(target) + ", which is not there",
			Remedy: "nothing where DHCP gives name servers: nodes get a file of their own in its place"}, "/etc/resolv.conf")
	}
}
