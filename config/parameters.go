package config

// A parameter is one that may be on the command line and in the image's file. A
// test compares docs/parameters.md with the table of them.
type parameter struct {
	name string
	// aliases are other names of the same parameter; the last of all wins.
	aliases []string
	// value and example are for error messages: what is allowed after the equals
	// sign, and an example that works. What the parameter does, and what holds
	// without it, is in docs/parameters.md only.
	value, example string
	// list means that every occurrence counts.
	list bool
	// tolerant means that a wrong value is reported and the default used, because
	// neither data nor the choice of the root depends on it.
	tolerant bool
	// secret keeps the value out of messages.
	secret bool
	// apply is nil for root= and nfsroot=, which depend on each other, and for
	// parameters that are accepted and change nothing.
	apply func(c *Config, a arg) error
}

// parameters are all that there are, in the order in which they are applied.
var parameters = []parameter{
	{name: "ip", aliases: []string{"nfsaddrs"}, list: true, value: "METHOD, DEVICE:METHOD or CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:METHOD:DNS0:DNS1:NTP0", example: "ip=dhcp", apply: applyIP},
	{name: "BOOTIF", tolerant: true, value: "01-MAC", example: "BOOTIF=01-52-54-00-12-34-56", apply: applyBootIF},
	{name: "rd.bootif", value: "0 or 1", example: "rd.bootif=0", apply: applyUseBootIF},
	{name: "ifname", list: true, value: "NAME:MAC", example: "ifname=eth0:52:54:00:12:34:56", apply: applyIfname},
	{name: "bond", list: true, value: "NAME[:NIC,NIC...[:OPTION=VALUE,...[:MTU]]]", example: "bond=bond0:eth0,eth1:mode=802.3ad,lacp_rate=fast", apply: applyBond},
	{name: "vlan", list: true, value: "NAME:DEVICE, the NAME ending in the VLAN's number", example: "vlan=eth0.5:eth0", apply: applyVLAN},
	{name: "bootdev", value: "DEVICE", example: "bootdev=eth1", apply: applyBootDev},
	{name: "rd.route", list: true, tolerant: true, value: "NETWORK/MASK:GATEWAY[:DEVICE]", example: "rd.route=192.168.5.0/24:10.0.0.9", apply: applyRoute},
	{name: "nameserver", list: true, tolerant: true, value: "ADDRESS", example: "nameserver=10.0.0.53", apply: applyNameserver},
	{name: "rd.peerdns", value: "0 or 1", example: "rd.peerdns=0", apply: func(c *Config, a arg) error { c.OnlyDNS = isOff(a.value); return nil }},
	{name: "nfsroot", list: true, value: "[SERVER:]PATH[,OPTIONS] or auto", example: "nfsroot=10.0.0.1:/srv/root"},
	{name: "root", value: "/dev/nfs, dhcp, dhcp6 or [nfs[4]:][SERVER:]PATH[:OPTIONS]", example: "root=nfs4:10.0.0.1:/srv/root"},
	{name: "netroot", value: "as root", example: "netroot=nfs:10.0.0.1:/srv/root"},
	{name: "nfsopts", tolerant: true, value: "OPTION[,OPTION]...", example: "nfsopts=vers=4.1,nconnect=4", apply: applyNFSOptions},
	{name: "init", value: "PATH", example: "init=/sbin/init", apply: applyInit},
	{name: "panic", tolerant: true, value: "SECONDS", example: "panic=30", apply: applyPanic},
	{name: "quiet", example: "quiet", apply: func(c *Config, _ arg) error { c.Quiet = true; return nil }},
	{name: "rw", example: "rw"},
	{name: "ro", example: "ro"},
	{name: "rd.break", aliases: []string{"break"}, example: "rd.break", apply: applyBreak},
	{name: "modprobe.blacklist", aliases: []string{"module_blacklist", "rd.driver.blacklist"}, list: true, value: "NAME[,NAME]...", example: "modprobe.blacklist=nouveau", apply: applyBlacklist},
	{name: "rd.driver.pre", aliases: []string{"rd.driver.post", "rd.modules-load"}, list: true, tolerant: true, value: "NAME[,NAME]...", example: "rd.driver.pre=ixgbe", apply: applyLoad},

	{name: "sidus.rw", value: "tmpfs, iscsi, LABEL=NAME, UUID=ID, PARTUUID=ID or /dev/NAME", example: "sidus.rw=tmpfs", apply: applyRW},
	{name: "sidus.rw.size", value: "PERCENT% of the RAM or BYTES[k|m|g|t]", example: "sidus.rw.size=2g", apply: applySize},
	{name: "sidus.rw.fallback", value: "none or tmpfs", example: "sidus.rw.fallback=tmpfs", apply: applyFallback},
	{name: "sidus.rw.takeover", value: "0xKEY", example: "sidus.rw.takeover=0x1f0e92d4c3b5a697", apply: applyTakeover},
	{name: "sidus.rw.adopt", value: "UUID or LABEL", example: "sidus.rw.adopt=9c1f0f5e-7d0c-4c58-9d86-5a0a3a3e2b11", apply: applyAdopt},
	{name: "sidus.rw.mismatch", value: "keep, archive, reset or stop", example: "sidus.rw.mismatch=archive", apply: applyMismatch},
	{name: "sidus.rw.reset", value: "TOKEN of letters, digits and . _ : -, such as a date", example: "sidus.rw.reset=20261126", apply: applyReset},
	{name: "sidus.mkfs", value: "never or blank", example: "sidus.mkfs=blank", apply: applyMkFS},
	{name: "sidus.union", value: "auto, aufs or overlay", example: "sidus.union=overlay", apply: applyUnion},
	{name: "sidus.usr", value: "union or direct", example: "sidus.usr=direct", apply: applyUsr},
	{name: "sidus.version", value: "ID", example: "sidus.version=20261126-101500", apply: applyTreeVersion},
	{name: "sidus.follow", tolerant: true, value: "boot, idle or now", example: "sidus.follow=idle", apply: applyFollow},
	{name: "sidus.follow.spread", tolerant: true, value: "SECONDS, 0 to 86400", example: "sidus.follow.spread=600", apply: applySpread},
	{name: "sidus.server", secret: true, value: "boot, boot,URL, URL or HOST", example: "sidus.server=boot", apply: applyServer},
	{name: "sidus.root.spread", value: "none or hash", example: "sidus.root.spread=hash", apply: applyRootSpread},
	{name: "sidus.ro.strict", value: "0 or 1", example: "sidus.ro.strict=1", apply: applyStrict},
	{name: "sidus.nic", value: "NAME, MAC or driver=NAME", example: "sidus.nic=driver=mlx5_core", apply: applyNIC},
	{name: "sidus.dad", value: "0 or 1", example: "sidus.dad=0", apply: applyDAD},
	{name: "sidus.ib", list: true, value: "DEVICE:ADDRESS/BITS, with %1 to %4 for the numbers of the node's IPv4 address", example: "sidus.ib=ib0:10.20.%3.%4/16", apply: applyIB},
	{name: "sidus.hostname", value: "TEMPLATE", example: "sidus.hostname=node-%I", apply: applyHostname},
	{name: "sidus.identity", value: "all, none, NAME[,NAME]... or -NAME[,-NAME]...", example: "sidus.identity=-machine-id,-hosts", apply: applyIdentity},
	{name: "systemd.machine_id", value: "ID", example: "systemd.machine_id=firmware", apply: applyMachineID},
	{name: "sidus.fstab", value: "keep or nofail", example: "sidus.fstab=nofail", apply: applyFstab},
	{name: "sidus.lease", value: "resident or tree", example: "sidus.lease=tree", apply: applyLease},
	{name: "sidus.onerror", tolerant: true, value: "retry, reboot, poweroff or shell", example: "sidus.onerror=reboot", apply: applyOnError},
	{name: "sidus.timeout", tolerant: true, value: "SECONDS, 5 to 3600", example: "sidus.timeout=120", apply: applyTimeout},
	{name: "sidus.events", tolerant: true, value: "TTY", example: "sidus.events=ttyS1", apply: applyEvents},

	{name: "sidus.iscsi.portal", aliases: []string{"iscsi_target_ip", "rd.iscsi.target.ip"}, list: true, value: "HOST[:PORT]", example: "sidus.iscsi.portal=10.0.0.2", apply: applyPortal},
	{name: "iscsi_target_port", aliases: []string{"rd.iscsi.target.port"}, value: "PORT", example: "iscsi_target_port=3260", apply: applyPort},
	{name: "sidus.iscsi.target", aliases: []string{"iscsi_target_name", "rd.iscsi.target.name"}, value: "TEMPLATE", example: "sidus.iscsi.target=iqn.2003-01.org.example:%i", apply: applyTarget},
	{name: "sidus.iscsi.initiator", aliases: []string{"iscsi_initiator", "rd.iscsi.initiator"}, value: "TEMPLATE", example: "sidus.iscsi.initiator=iqn.2003-01.org.example:node-%I", apply: applyInitiator},
	{name: "sidus.iscsi.lun", value: "NUMBER, 0 to 16383", example: "sidus.iscsi.lun=1", apply: applyLUN},
	{name: "sidus.iscsi.user", aliases: []string{"iscsi_username", "rd.iscsi.username"}, value: "NAME", example: "sidus.iscsi.user=node", apply: func(c *Config, a arg) error { c.ISCSI.User = a.value; return nil }},
	{name: "sidus.iscsi.password", aliases: []string{"iscsi_password", "rd.iscsi.password"}, secret: true, value: "SECRET", example: "sidus.iscsi.password=correct-horse", apply: func(c *Config, a arg) error { c.ISCSI.Password = a.value; return nil }},
	{name: "sidus.iscsi.user_in", aliases: []string{"iscsi_in_username", "rd.iscsi.in.username"}, value: "NAME", example: "sidus.iscsi.user_in=target", apply: func(c *Config, a arg) error { c.ISCSI.UserIn = a.value; return nil }},
	{name: "sidus.iscsi.password_in", aliases: []string{"iscsi_in_password", "rd.iscsi.in.password"}, secret: true, value: "SECRET", example: "sidus.iscsi.password_in=battery-staple", apply: func(c *Config, a arg) error { c.ISCSI.PasswordIn = a.value; return nil }},
	{name: "sidus.iscsi.chap", value: "md5, sha1, sha256 or sha3-256, several with commas", example: "sidus.iscsi.chap=sha256", apply: applyCHAP},
}

// parameterIndex returns the index of the parameter with that canonical name, or
// -1.
func parameterIndex(name string) int {
	for i, w := range parameters {
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
