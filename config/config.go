// Package config knows what this node should do: the kernel command line and
// the image's /etc/sidusboot.conf, read into one Config, and what a DHCP lease
// adds to it. It reads no file itself and has no side effects: /init gives it
// text. docs/parameters.md lists the parameters.
package config

import (
	"net"
	"net/netip"
	"time"
)

// A Config is what the parameters ask for. The zero value of a field means that
// the parameter was not given, except where Parse fills in a default.
type Config struct {
	// Init is the tree's init program, init=. Empty: the usual ones are tried.
	Init string
	// Quiet is the kernel's own parameter: only errors go to the console.
	Quiet bool
	// Panic is panic=, in seconds; nil where it is absent.
	Panic *int
	// OnError is what to do when a stage fails. Default Retry.
	OnError OnError
	// Events is the name of a tty on which stages are reported, sidus.events=.
	Events string
	// Timeout is how long a stage waits for a link or a server before it has
	// failed and OnError acts. Default 60 s.
	Timeout time.Duration
	// LeaseTimeout is how long a link waits for an address. It is the
	// Timeout where one was given, else 90 s: a switch with spanning tree
	// forwards nothing for up to 50 s.
	LeaseTimeout time.Duration
	// Break is rd.break: stop for a shell before the switch.
	Break bool

	// IPs are the ip= parameters in order. Those of the command line replace those
	// of the file.
	IPs []IP
	// BootIF is the NIC that the firmware booted from, BOOTIF=.
	BootIF net.HardwareAddr
	// NIC is the NIC to boot from, sidus.nic=. It is stronger than BootIF.
	NIC NIC
	// BootDev is the device of several ip= that leads to the root, bootdev=.
	BootDev string
	// Renames, Bonds and VLANs are made before any device is used, in this
	// order: ifname=, bond=, vlan=.
	Renames []Rename
	Bonds   []Bond
	VLANs   []VLAN
	// Routes are added to those of the lease, rd.route=.
	Routes []Route
	// DNS are name servers that come before the lease's, nameserver=; with
	// OnlyDNS there are no others, rd.peerdns=0.
	DNS     []netip.Addr
	OnlyDNS bool
	// TrustAddress is sidus.dad=0: an address is used without a check whether
	// another host has it.
	TrustAddress bool
	// Hostname is sidus.hostname=, a template (see Expand). Empty: from the lease.
	Hostname string
	// Fstab is what to do with lines of fstab for devices that the node does not
	// have, sidus.fstab=. Default FstabKeep.
	Fstab Fstab
	// LeaseOwner says which program keeps the address after the switch, sidus.lease=.
	// Default OwnerResident.
	LeaseOwner LeaseOwner

	// IBs are InfiniBand devices with addresses, sidus.ib=.
	IBs []IB
	// IdentityOff are those of Identities that the tree's own values are kept
	// for, sidus.identity=.
	IdentityOff map[string]bool

	// Root is the root given on the command line; FileRoot the one in the
	// image's file, used when neither command line nor lease has one.
	Root, FileRoot Root

	// MoreRoots and MoreFileRoots are those of further nfsroot= in the same place:
	// other servers of the same tree.
	MoreRoots, MoreFileRoots []Root
	// SpreadRoots is sidus.root.spread=hash: the nodes begin with different ones of
	// several servers.
	SpreadRoots bool

	// BootServer is the server of the tree where neither nfsroot=, root=, ip= nor the
	// lease's root path names one, sidus.server=.
	BootServer BootServer

	// nfsOptions are those of nfsopts=.
	nfsOptions Root

	// RW is what becomes /rw. Default tmpfs.
	RW RW
	// ISCSI is where the node's LUN is, for RW.Kind "iscsi".
	ISCSI ISCSI
	// Union is the stacking wanted. Default UnionAuto.
	Union Union
	// TreeVersion is sidus.version: the ID of the version to mount, where the root
	// is a base with versions; empty: its current one.
	TreeVersion string
	// UsrDirect is sidus.usr=direct: /usr is the tree's own, not the union's.
	UsrDirect bool
	// Follow is sidus.follow: what a running node does when another version becomes
	// current. Default FollowBoot.
	Follow Follow
	// Spread is sidus.follow.spread: over what time the nodes of a site act on a
	// change of their tree. Default 0: each within a minute.
	Spread time.Duration
	// RefuseWritable is sidus.ro.strict=1: an export that can be written is an
	// error instead of a warning.
	RefuseWritable bool

	// Modules is the text of each module's parameters, from MODULE.PARAMETER=VALUE.
	// The names have underscores, several parameters are joined by a blank.
	Modules map[string]string
	// Blacklist are the modules not to load, modprobe.blacklist= and the
	// kernel's module_blacklist=, with underscores.
	Blacklist map[string]bool
	// Load are modules to load at once, rd.driver.pre= and its like.
	Load []string
	// Consumed are the names of the parameters that /init acted upon, as they were
	// written: they are not passed to the real init as environment. Every iscsi_
	// parameter is among them, which may be a password.
	Consumed map[string]bool
	// Notes are for the operator: unknown parameters with the nearest known one,
	// values that were not understood and what is used instead.
	Notes []string
}

// OnError is a policy for a failed stage.
type OnError int

// The policies of sidus.onerror=.
const (
	Retry OnError = iota
	Reboot
	PowerOff
	Shell
)

// Fstab is what to do with lines of fstab for devices that the node does not have.
type Fstab int

// What sidus.fstab= says.
const (
	// FstabKeep leaves them, and reports them.
	FstabKeep Fstab = iota
	// FstabNoFail gives them the option nofail.
	FstabNoFail
)

// Follow is what a running node does when another version becomes current.
type Follow int

// What sidus.follow= says.
const (
	// FollowBoot does nothing: the next boot takes it.
	FollowBoot Follow = iota
	// FollowIdle changes over when nobody uses the node.
	FollowIdle
	// FollowNow changes over at once.
	FollowNow
)

// LeaseOwner says which program keeps the node's address after the switch.
type LeaseOwner int

// The owners of sidus.lease=.
const (
	// OwnerResident is sidusboot: the tree's network managers are told to keep the
	// NIC as it is.
	OwnerResident LeaseOwner = iota
	// OwnerTree is the tree's own network manager: it gets no instructions.
	OwnerTree
)

// Union is a kind of union file system.
type Union int

// The kinds of sidus.union=.
const (
	UnionAuto Union = iota
	UnionAufs
	UnionOverlay
)

// A Root is where the shared tree comes from. Empty fields are filled by
// weaker sources.
type Root struct {
	// Server is a name or an address without brackets.
	Server string
	// Path is absolute, and may hold %s and the templates.
	Path string
	// Version is "3", "4", "4.0", "4.1" or "4.2"; empty: the best that works.
	Version string
	// Options go to the kernel verbatim (without vers=/nfsvers=).
	Options []string
	// Origin is for messages: "command line", "DHCP option 17", …
	Origin string
}

// An RW is what sidus.rw= asks for.
type RW struct {
	// Kind is "tmpfs", "iscsi" or "device".
	Kind string
	// Device is LABEL=…, UUID=…, PARTUUID=… or /dev/… for kind "device".
	Device string
	// Size is the tmpfs's size= text: "50%", "2g", "1048576". Default "50%".
	Size string
	// Fallback is "none" (default) or "tmpfs".
	Fallback string
	// MkFS is "never" (default) or "blank": only on a device proven empty.
	MkFS string
	// Takeover is the reservation key of another node from which the volume is
	// taken over. Zero: none.
	Takeover uint64
	// Mismatch is what happens to an upper layer that was made over another tree,
	// sidus.rw.mismatch=: "keep" (default), "archive", "reset" or "stop".
	Mismatch string
	// Reset is a token, sidus.rw.reset=: the upper layer is emptied once for each.
	// Empty: it is not.
	Reset string
	// Adopt is the UUID or the label, a template, of a file system that may
	// become /rw whatever it holds, sidus.rw.adopt=. Empty: none.
	Adopt string
}

// An IP is one ip= parameter.
type IP struct {
	Client, Server, Gateway netip.Addr
	// Bits is the length of the netmask, 0 where none was given.
	Bits     int
	Hostname string
	Device   string
	Method   Method
	// ClientID is DHCP option 61 (type byte, then value), from
	// ip=dhcp,TYPE,VALUE. Empty: none was asked for.
	ClientID string
	DNS      []netip.Addr
	NTP      netip.Addr
	MTU      int
	// MAC is the address that the device shall be given, dracut's last field.
	MAC net.HardwareAddr
	// byBootIF: the device was written as BOOTIF.
	byBootIF bool
}

// Method is how a NIC gets its address.
type Method int

// The methods of ip=.
const (
	// MethodDHCP asks by DHCP; fields of ip= take precedence over the lease.
	MethodDHCP Method = iota
	// MethodStatic uses the fields as they are.
	MethodStatic
	// MethodOff leaves the device alone.
	MethodOff
	// MethodAuto6 is IPv6 by a router, or by DHCPv6 where the router says so.
	MethodAuto6
	// MethodDHCP6 is IPv6 by DHCPv6.
	MethodDHCP6
)

// A Lease is what config needs of a DHCP lease to find the root. Strings are
// as the server sent them.
type Lease struct {
	Addr     netip.Addr
	MAC      net.HardwareAddr
	Hostname string
	UUID     string
	// RootPath is option 17.
	RootPath string
	// Server is not from the lease but ip='s server field, which is stronger
	// than the two below and weaker than a server named in RootPath.
	Server netip.Addr
	// NextServer is siaddr, ServerID option 54.
	NextServer, ServerID netip.Addr
	// Boot finds the host that the kernel came from, and says how it is known; it is
	// called only where nothing stronger names the server. Empty: not known. Nil: it is
	// not looked for.
	Boot func() (server, from string)
}

var (
	onErrorNames = [...]string{Retry: "retry", Reboot: "reboot", PowerOff: "poweroff", Shell: "shell"}
	followNames  = [...]string{FollowBoot: "boot", FollowIdle: "idle", FollowNow: "now"}
	fstabNames   = [...]string{FstabKeep: "keep", FstabNoFail: "nofail"}
	ownerNames   = [...]string{OwnerResident: "resident", OwnerTree: "tree"}
	unionNames   = [...]string{UnionAuto: "auto", UnionAufs: "aufs", UnionOverlay: "overlay"}
	methodNames  = [...]string{MethodDHCP: "dhcp", MethodStatic: "static", MethodOff: "off", MethodAuto6: "auto6", MethodDHCP6: "dhcp6"}
)

// String is the policy as sidus.onerror= spells it.
func (p OnError) String() string { return nameOf(onErrorNames[:], int(p)) }

// String is the owner as sidus.lease= spells it.
func (o LeaseOwner) String() string { return nameOf(ownerNames[:], int(o)) }

// String is the value as sidus.follow= spells it.
func (f Follow) String() string { return nameOf(followNames[:], int(f)) }

// String is the kind as sidus.union= spells it.
func (u Union) String() string { return nameOf(unionNames[:], int(u)) }

// String is the method as ip= spells it.
func (m Method) String() string { return nameOf(methodNames[:], int(m)) }

func nameOf(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}
