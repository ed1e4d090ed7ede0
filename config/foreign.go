package config

import (
	"slices"
	"strconv"
	"strings"
)

// foreignTable are parameters of other initramfs that are not supported here.
// Such a parameter was written for some effect: so it is told. A line has the
// canonical names, one that ends in a dot for all that begin so; the values that
// matter, or behind ! those that do not, or neither for any; and what to say,
// which is nothing for what there is nothing to do for. The first line that fits
// counts.
//
// dracut's are those of dracut.cmdline(7), the others of initramfs-tools(7),
// live-boot(7), casper, ltsp(8), overlayroot and Anaconda. It is one text because
// that is a third of the size. docs/parameters.md has it for people.
const foreignTable = `
bridge||no bridge is made, the NIC itself is used: let the tree make it
team||no team is made: say bond=
rd.shell||say sidus.onerror=shell
rd.emergency||say sidus.onerror=reboot or sidus.onerror=poweroff
rd.retry,rd.timeout,rd.net.,ethdevice_timeout||say sidus.timeout=SECONDS
rd.nfs.domain||owners are taken as numbers: let the server send them so
rd.overlay|!,1|/rw is said with sidus.rw= and sidus.rw.size=
rd.overlay.,nfscow,nfsoverlay,persistence,persistent,overlay_size||/rw is said with sidus.rw= and sidus.rw.size=
overlayroot|!disabled|/rw is said with sidus.rw= and sidus.rw.size=
union||say sidus.union=
boot|live,casper|a tree is booted, exported by NFS, not a live image
netboot|!,nfs|a tree is booted, exported by NFS, not a live image
rd.live.,fetch,httpfs,ftpfs,findiso,live_media,live_media_path,toram,ltsp.image||a tree is booted, exported by NFS, not a live image
rd.iscsi.||the node's LUN is said with sidus.iscsi.portal=, .target=, .initiator= and their like
rd.luks,rd.luks.,rd.lvm,rd.lvm.,rd.md,rd.md.||nothing is unlocked or put together for the root, which is NFS
rd.debug||what was done is in /run/sidusboot/boot.log and boot.json
rd.systemd.,rd.udev.,rd.vconsole.,rd.locale.,rd.plymouth,rd.neednet,rd.auto,rd.hostonly,rd.fstab,rd.skipfsck,rd.info||
rd.||it is dracut's, and has no effect here
rootflags||NFS options stand behind the path: nfsroot=SERVER:/PATH,OPTIONS
rootfallback,mount.usr||there is one root
ip6|!none|say ip=auto6, ip=dhcp6 or ip=dhcp,dhcp6
ksdevice|!bootif|say sidus.nic= or BOOTIF=
ethdevice||say sidus.nic=, or DEVICE in ip=
`

// findForeign finds the line for a canonical name.
func findForeign(name string) (values, instead string, ok bool) {
	for _, line := range strings.Split(foreignTable, "\n") {
		names, rest, _ := strings.Cut(line, "|")
		for _, n := range strings.Split(names, ",") {
			if n != "" && (n == name || n[len(n)-1] == '.' && strings.HasPrefix(name, n)) {
				values, instead, _ = strings.Cut(rest, "|")
				return values, instead, true
			}
		}
	}
	return "", "", false
}

// warnOfForeign tells that a parameter is not obeyed, if it is one of
// foreignTable. Its value stays out, which may be a password.
func (c *Config) warnOfForeign(name string, a arg) (known bool) {
	values, instead, known := findForeign(name)
	if !known || instead == "" || isOff(a.value) {
		return known
	}
	unless, not := strings.CutPrefix(values, "!")
	if values != "" && slices.Contains(strings.Split(unless, ","), a.value) == not {
		return true
	}
	if text := strconv.Quote(a.name) + " is not supported: " + instead; !slices.Contains(c.Notes, text) {
		c.Notes = append(c.Notes, text)
	}
	return true
}
