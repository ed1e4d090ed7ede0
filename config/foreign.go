package config

import (
	"slices"
	"strconv"
	"strings"
)

// foreignTable are parameters of other initramfs that are not supported here. They
// were written for some effect, so they are reported. A line has the canonical
// names, where one that ends in a dot stands for all that begin so; the values
// that matter, or after ! those that do not, or neither for any; and what to
// write instead, which is empty where nothing is needed. The first line that fits
// counts.
//
// dracut's are those of dracut.cmdline(7), the others of initramfs-tools(7),
// live-boot(7), casper, ltsp(8), overlayroot and Anaconda. It is one text, which is a third of the
// size of a table. docs/parameters.md has it for people.
const foreignTable = `
bridge||no bridge is made, the NIC itself is used: let the tree make the bridge
team||no team is made: use bond=
rd.shell||use sidus.onerror=shell
rd.emergency||use sidus.onerror=reboot or sidus.onerror=poweroff
rd.retry,rd.timeout,rd.net.,ethdevice_timeout||use sidus.timeout=SECONDS
rd.nfs.domain||owners are numbers here: let the server send numbers
rd.overlay|!,1|/rw is set by sidus.rw= and sidus.rw.size=
rd.overlay.,nfscow,nfsoverlay,persistence,persistent,overlay_size||/rw is set by sidus.rw= and sidus.rw.size=
overlayroot|!disabled|/rw is set by sidus.rw= and sidus.rw.size=
union||use sidus.union=
boot|live,casper|sidusboot boots a tree that is exported by NFS, not a live image
netboot|!,nfs|sidusboot boots a tree that is exported by NFS, not a live image
rd.live.,fetch,httpfs,ftpfs,findiso,live_media,live_media_path,toram,ltsp.image||sidusboot boots a tree that is exported by NFS, not a live image
rd.iscsi.||the node's LUN is set by sidus.iscsi.portal=, .target=, .initiator= and others
rd.luks,rd.luks.,rd.lvm,rd.lvm.,rd.md,rd.md.||the root is NFS: no disk is unlocked or assembled for it
rd.debug||see /run/sidusboot/boot.log and boot.json
rd.systemd.,rd.udev.,rd.vconsole.,rd.locale.,rd.plymouth,rd.neednet,rd.auto,rd.hostonly,rd.fstab,rd.skipfsck,rd.info||
rd.||it is a parameter of dracut and has no effect here
rootflags||NFS options are written after the path: nfsroot=SERVER:/PATH,OPTIONS
rootfallback,mount.usr||there is only one root
ip6|!none|use ip=auto6, ip=dhcp6 or ip=dhcp,dhcp6
ksdevice|!bootif|use sidus.nic= or BOOTIF=
ethdevice||use sidus.nic=, or DEVICE in ip=
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

// warnOfForeign reports a parameter that has no effect, if it is one of
// foreignTable. Its value is not shown, which may be a password.
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
