package config

// A word is one that the command line and the image's file may hold. The
// table is also what docs/parameters.md is checked against.
type word struct {
	name string
	// aliases are other names of the same word; the last of all wins.
	aliases []string
	// value, standard and example are for people: what may stand behind the
	// equals sign, what goes without the word, and one that works.
	value, standard, example string
	help                     string
	// list means that every occurrence counts.
	list bool
	// soft means that a wrong value is noted and the default taken, because
	// no data and no choice of root hang on it.
	soft bool
	// secret keeps the value out of messages.
	secret bool
	// later means that it is read but nothing acts on it yet.
	later bool
	// apply is nil for root= and nfsroot=, which depend on each other, and for
	// words that are accepted and change nothing.
	apply func(c *Config, a arg) error
}

// words are all that we know, in the order in which they are applied.
var words = []word{
	{name: "ip", aliases: []string{"nfsaddrs"}, list: true, value: "METHOD, DEVICE:METHOD or CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:METHOD:DNS0:DNS1:NTP0", standard: "dhcp", example: "ip=dhcp",
		help: "how the node gets its address", apply: applyIP},
	{name: "BOOTIF", soft: true, value: "01-MAC", example: "BOOTIF=01-52-54-00-12-34-56",
		help: "the network card that the firmware booted from: it comes first", apply: applyBootIF},
	{name: "rd.bootif", value: "0 or 1", standard: "1", example: "rd.bootif=0",
		help: "0: BOOTIF= is not looked at", apply: applyUseBootIF},
	{name: "ifname", list: true, value: "NAME:MAC", example: "ifname=eth0:52:54:00:12:34:56",
		help: "the name of the NIC with that address", apply: applyIfname},
	{name: "bond", list: true, value: "NAME[:NIC,NIC...[:OPTION=VALUE,...[:MTU]]]", example: "bond=bond0:eth0,eth1:mode=802.3ad,lacp_rate=fast",
		help: "several NICs as one", apply: applyBond},
	{name: "vlan", list: true, value: "NAME:DEVICE, the NAME ending in the VLAN's number", example: "vlan=eth0.5:eth0",
		help: "a device for one VLAN of another device", apply: applyVLAN},
	{name: "bootdev", value: "DEVICE", example: "bootdev=eth1",
		help: "which of several ip= leads to the root", apply: applyBootDev},
	{name: "rd.route", list: true, soft: true, value: "NETWORK/MASK:GATEWAY[:DEVICE]", example: "rd.route=192.168.5.0/24:10.0.0.9",
		help: "a route beside those of the lease", apply: applyRoute},
	{name: "nameserver", list: true, soft: true, value: "ADDRESS", example: "nameserver=10.0.0.53",
		help: "a name server that is asked before those of the lease", apply: applyNameserver},
	{name: "rd.peerdns", value: "0 or 1", standard: "1", example: "rd.peerdns=0",
		help: "0: only the name servers of nameserver= and ip=", apply: func(c *Config, a arg) error { c.OnlyDNS = isOff(a.value); return nil }},
	{name: "nfsroot", value: "[SERVER:]PATH[,OPTIONS] or auto", standard: "auto", example: "nfsroot=10.0.0.1:/srv/root",
		help: "the shared tree; what is left out comes from DHCP"},
	{name: "root", value: "/dev/nfs, dhcp, dhcp6 or [nfs[4]:][SERVER:]PATH[:OPTIONS]", standard: "/dev/nfs", example: "root=nfs4:10.0.0.1:/srv/root",
		help: "the same in dracut's words"},
	{name: "netroot", value: "as root", example: "netroot=nfs:10.0.0.1:/srv/root",
		help: "the same where root= says nothing; other kinds of roots are ignored"},
	{name: "nfsopts", soft: true, value: "OPTION[,OPTION]...", example: "nfsopts=vers=4.1,nconnect=4",
		help: "NFS options where the tree's parameter has none", apply: applyNFSOptions},
	{name: "init", value: "PATH", standard: "the tree's usual ones", example: "init=/sbin/init",
		help: "the program in the tree that the boot ends in", apply: applyInit},
	{name: "panic", soft: true, value: "SECONDS", example: "panic=30",
		help: "delay before the policy reboot reboots", apply: applyPanic},
	{name: "quiet", example: "quiet",
		help: "only trouble goes to the console", apply: func(c *Config, _ arg) error { c.Quiet = true; return nil }},
	{name: "rw", example: "rw", help: "accepted; / is always the writable union"},
	{name: "ro", example: "ro", help: "accepted; / is always the writable union"},
	{name: "rd.break", aliases: []string{"break"}, example: "rd.break",
		help: "stop for a shell before the switch into the tree", apply: applyBreak},
	{name: "modprobe.blacklist", aliases: []string{"module_blacklist", "rd.driver.blacklist"}, list: true, value: "NAME[,NAME]...", example: "modprobe.blacklist=nouveau",
		help: "modules not to load", apply: applyBlacklist},
	{name: "rd.driver.pre", aliases: []string{"rd.driver.post", "rd.modules-load"}, list: true, soft: true, value: "NAME[,NAME]...", example: "rd.driver.pre=ixgbe",
		help: "modules of the image to load at once", apply: applyLoad},

	{name: "sidus.rw", value: "tmpfs, iscsi, LABEL=NAME, UUID=ID, PARTUUID=ID or /dev/NAME", standard: "tmpfs", example: "sidus.rw=tmpfs",
		help: "what becomes /rw, where the node's changes go; a disk needs its modules in the image", apply: applyRW},
	{name: "sidus.rw.size", value: "PERCENT% of the RAM or BYTES[k|m|g|t]", standard: "50%", example: "sidus.rw.size=2g",
		help: "the most that the tmpfs may hold", apply: applySize},
	{name: "sidus.rw.fallback", value: "none or tmpfs", standard: "none", example: "sidus.rw.fallback=tmpfs",
		help: "tmpfs: boot without the volume of sidus.rw when it cannot be had or written, and lose what is written", apply: applyFallback},
	{name: "sidus.rw.takeover", value: "0xKEY", example: "sidus.rw.takeover=0x1f0e92d4c3b5a697",
		help: "take the node's LUN over from another node, gone for good, that holds it under this key", apply: applyTakeover},
	{name: "sidus.rw.adopt", value: "UUID or LABEL", example: "sidus.rw.adopt=9c1f0f5e-7d0c-4c58-9d86-5a0a3a3e2b11",
		help: "this file system on the node's volume may become /rw although it holds somebody's files", apply: applyAdopt},
	{name: "sidus.mkfs", value: "never or blank", standard: "never", example: "sidus.mkfs=blank",
		help: "blank: make an ext4 on a volume that is proven blank: nothing but zeros where anything known would be", apply: applyMkFS},
	{name: "sidus.union", value: "auto, aufs or overlay", standard: "auto", example: "sidus.union=overlay",
		help: "what stacks /rw on /ro; auto: aufs where the kernel has it", apply: applyUnion},
	{name: "sidus.ro.strict", value: "0 or 1", standard: "0", example: "sidus.ro.strict=1",
		help: "1: an export that the node could write to is an error, not a warning", apply: applyStrict},
	{name: "sidus.nic", value: "NAME, MAC or driver=NAME", standard: "BOOTIF's, then eth0, then any", example: "sidus.nic=driver=mlx5_core",
		help: "the network card to boot from", apply: applyNIC},
	{name: "sidus.dad", value: "0 or 1", standard: "1", example: "sidus.dad=0",
		help: "0: use an address without asking on the link whether somebody has it", apply: applyDAD},
	{name: "sidus.ib", list: true, value: "DEVICE:ADDRESS/BITS, with %1 to %4 for the numbers of the node's IPv4 address", example: "sidus.ib=ib0:10.20.%3.%4/16",
		help: "an InfiniBand device that is given an address made of the node's own", apply: applyIB},
	{name: "sidus.hostname", value: "TEMPLATE", standard: "ip's, then the lease's", example: "sidus.hostname=node-%I",
		help: "the node's name", apply: applyHostname},
	{name: "sidus.identity", value: "all, none, NAME[,NAME]... or -NAME[,-NAME]...", standard: "all", example: "sidus.identity=-machine-id,-hosts",
		help: "which of hostname, hosts, resolver, ntp, machine-id, hostid, initiator, nvme, ssh-keys, entropy each node is given its own of", apply: applyIdentity},
	{name: "systemd.machine_id", value: "ID", example: "systemd.machine_id=firmware",
		help: "systemd's: the machine-id; no other is made then", apply: applyMachineID},
	{name: "sidus.fstab", value: "keep or nofail", standard: "keep", example: "sidus.fstab=nofail",
		help: "lines of the tree's fstab for devices that the node has not. keep: they stay, and are told; nofail: they are given that option, so that the boot does not wait for them", apply: applyFstab},
	{name: "sidus.lease", value: "resident or tree", standard: "resident", example: "sidus.lease=tree",
		help: "whose the address is after the switch. resident: the node's own, and the tree's network managers are told to keep it; tree: theirs, and they are told nothing", apply: applyLease},
	{name: "sidus.onerror", soft: true, value: "retry, reboot, poweroff or shell", standard: "retry", example: "sidus.onerror=reboot",
		help: "what to do when a stage fails", apply: applyOnError},
	{name: "sidus.timeout", soft: true, value: "SECONDS, 5 to 3600", standard: "60", example: "sidus.timeout=120",
		help: "how long a stage waits for a link or a server, and for a lease, for which it is 90 without this word", apply: applyTimeout},
	{name: "sidus.events", soft: true, value: "TTY", example: "sidus.events=ttyS1",
		help: "a serial line that is told each stage, for tests", apply: applyEvents},

	{name: "sidus.iscsi.portal", aliases: []string{"iscsi_target_ip", "rd.iscsi.target.ip"}, list: true, value: "HOST[:PORT]", example: "sidus.iscsi.portal=10.0.0.2",
		help: "where the target listens; several are tried in order; without it the NFS server", apply: applyPortal},
	{name: "iscsi_target_port", aliases: []string{"rd.iscsi.target.port"}, value: "PORT", standard: "3260", example: "iscsi_target_port=3260",
		help: "Debian's; the port of portals that have none", apply: applyPort},
	{name: "sidus.iscsi.target", aliases: []string{"iscsi_target_name", "rd.iscsi.target.name"}, value: "TEMPLATE", example: "sidus.iscsi.target=iqn.2003-01.org.example:%i",
		standard: DefaultTarget, help: "the target's name", apply: applyTarget},
	{name: "sidus.iscsi.initiator", aliases: []string{"iscsi_initiator", "rd.iscsi.initiator"}, value: "TEMPLATE", example: "sidus.iscsi.initiator=iqn.2003-01.org.example:node-%I",
		standard: DefaultInitiator, help: "this node's name; with %m or %u in it no two nodes can have the same", apply: applyInitiator},
	{name: "sidus.iscsi.lun", value: "NUMBER, 0 to 16383", standard: "0", example: "sidus.iscsi.lun=1",
		help: "the disk of that target; tgt counts from 1", apply: applyLUN},
	{name: "sidus.iscsi.user", aliases: []string{"iscsi_username", "rd.iscsi.username"}, value: "NAME", example: "sidus.iscsi.user=node",
		help: "CHAP name", apply: func(c *Config, a arg) error { c.ISCSI.User = a.value; return nil }},
	{name: "sidus.iscsi.password", aliases: []string{"iscsi_password", "rd.iscsi.password"}, secret: true, value: "SECRET", example: "sidus.iscsi.password=correct-horse",
		help: "CHAP secret", apply: func(c *Config, a arg) error { c.ISCSI.Password = a.value; return nil }},
	{name: "sidus.iscsi.user_in", aliases: []string{"iscsi_in_username", "rd.iscsi.in.username"}, value: "NAME", example: "sidus.iscsi.user_in=target",
		help: "CHAP name that the target must prove", apply: func(c *Config, a arg) error { c.ISCSI.UserIn = a.value; return nil }},
	{name: "sidus.iscsi.password_in", aliases: []string{"iscsi_in_password", "rd.iscsi.in.password"}, secret: true, value: "SECRET", example: "sidus.iscsi.password_in=battery-staple",
		help: "and its secret", apply: func(c *Config, a arg) error { c.ISCSI.PasswordIn = a.value; return nil }},
	{name: "sidus.iscsi.chap", value: "md5, sha1, sha256 or sha3-256, several with commas", standard: "md5", example: "sidus.iscsi.chap=sha256",
		help: "CHAP algorithms to offer, best first; LIO knows all, tgt md5 only (it means sha1 where sha256 is offered)", apply: applyCHAP},
}

// find returns the index of the word with that canonical name, or -1.
func find(name string) int {
	for i, w := range words {
		if canonical(w.name) == name {
			return i
		}
		for _, alias := range w.aliases {
			if canonical(alias) == name {
				return i
			}
		}
	}
	return -1
}
