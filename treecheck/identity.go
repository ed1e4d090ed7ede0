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
				Remedy: "nothing: each node gets its own. With sidus.identity=-machine-id all nodes would have this one: then empty the file"}, "/etc/machine-id")
		}
	}
	if keys := c.glob("/etc/ssh/ssh_host_*_key"); len(keys) > 0 {
		c.add(Finding{Name: "ssh-keys", Severity: Warning, Problem: "the tree has ssh host keys: all nodes have them, and every node can read them",
			Remedy: "remove them: rm etc/ssh/ssh_host_*"}, keys...)
	}
	for _, name := range []string{"/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed"} {
		if info, err := c.tree.Stat(name); err == nil && info.Size() > 0 {
			c.add(Finding{Name: "random-seed", Severity: Warning, Problem: "the tree has a random seed: all nodes start with the same one", Remedy: "remove it"}, name)
		}
	}
	if b, err := c.tree.ReadFile("/etc/hostname"); err == nil && strings.TrimSpace(string(b)) != "" {
		c.add(Finding{Name: "hostname", Severity: Note, Problem: "the tree has a host name, " + plain(strings.TrimSpace(string(b))),
			Remedy: "nodes to which DHCP gives no name all get this one: empty /etc/hostname, or let DHCP give names"}, "/etc/hostname")
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
	c.add(Finding{Name: "fstab", Severity: Warning, Problem: "fstab has disks: a node without such a disk waits for it and ends in emergency mode",
		Remedy: "remove these lines, or add nofail to their options"}, disks...)
}

func hasOption(options string, names ...string) bool {
	return slices.ContainsFunc(strings.Split(options, ","), func(o string) bool { return slices.Contains(names, o) })
}

// resolver finds an /etc/resolv.conf that does not work on a node to which DHCP
// gives no name servers.
func (c *check) resolver() {
	const name = "/etc/resolv.conf"
	info, err := c.tree.Lstat(name)
	if err != nil {
		return
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		if b, err := c.tree.ReadFile(name); err == nil && onlyLoopback(string(b)) && !c.anyExecutable("/lib/systemd/systemd-resolved", "/usr/sbin/dnsmasq", "/usr/sbin/unbound", "/usr/sbin/named", "/usr/sbin/pdnsd") {
			c.add(Finding{Name: "resolv.conf", Severity: Note, Problem: "/etc/resolv.conf has the address of a name server on the node itself, but the tree has no name server",
				Remedy: "nothing if DHCP gives name servers, because each node gets its own file; otherwise write your name servers into it"}, name)
		}
		return
	}
	target, err := c.tree.Readlink(name)
	if err != nil || strings.Contains(target, "/run/") || strings.HasPrefix(target, "run/") {
		return // A service of the node makes it.
	}
	if _, err := c.tree.Stat(name); err != nil {
		c.add(Finding{Name: "resolv.conf", Severity: Note, Problem: "/etc/resolv.conf is a link to " + plain(target) + ", which does not exist",
			Remedy: "nothing if DHCP gives name servers, because each node gets its own file"}, name)
	}
}

// onlyLoopback tells whether a resolv.conf has name servers, all of them on the
// machine that reads it.
func onlyLoopback(text string) bool {
	found := false
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			if !strings.HasPrefix(fields[1], "127.") && fields[1] != "::1" {
				return false
			}
			found = true
		}
	}
	return found
}

func (c *check) anyExecutable(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return c.tree.Executable(name) == nil })
}

// logins finds what an installation in a chroot, or a shutdown, has left.
func (c *check) logins() {
	if _, err := c.tree.Stat("/etc/nologin"); err == nil {
		c.add(Finding{Name: "nologin", Severity: Warning, Problem: "the tree has /etc/nologin: nobody but root can log in on nodes", Remedy: "remove it"}, "/etc/nologin")
	}
	if _, err := c.tree.Stat("/usr/sbin/policy-rc.d"); err == nil {
		c.add(Finding{Name: "policy-rc.d", Severity: Note, Problem: "the tree has /usr/sbin/policy-rc.d, which keeps services from being started when their package is installed",
			Remedy: "remove it when the tree is finished, unless packages that are installed on a node must not start services"}, "/usr/sbin/policy-rc.d")
	}
}
