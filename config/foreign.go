package config

import (
	"slices"
	"strconv"
	"strings"
)

// A foreignWord is a parameter of another initramfs that is not supported here.
// Whoever writes it expects something of it: so it is told.
type foreignWord struct {
	// name is canonical. One that ends in a dot or in _ stands for all that begin
	// so.
	name string
	// instead says what is so without it, and what to write.
	instead string
	// only are the values that matter; except are those that do not, beside
	// those that switch something off. None: all matter.
	only, except []string
}

const (
	sayTimeout = "say sidus.timeout=SECONDS"
	noLive     = "a tree is booted, exported by NFS, not a live image"
	sayRW      = "/rw is said with sidus.rw= and sidus.rw.size="
	sayLUN     = "the node's LUN is said with sidus.iscsi.portal=, .target=, .initiator= and their like"
	noDisks    = "nothing is unlocked or put together for the root, which is NFS"
)

// foreignWords are looked through in order. dracut's are those of
// dracut.cmdline(7), the others of initramfs-tools(7), live-boot(7), ltsp(8) and
// overlayroot. docs/parameters.md has them in a table.
var foreignWords = []foreignWord{
	{name: "bridge", instead: "no bridge is made, the NIC itself is used: let the tree make it"},
	{name: "team", instead: "no team is made: say bond="},
	{name: "rd.shell", instead: "say sidus.onerror=shell"},
	{name: "rd.emergency", instead: "say sidus.onerror=reboot or sidus.onerror=poweroff"},
	{name: "rd.retry", instead: sayTimeout},
	{name: "rd.timeout", instead: sayTimeout},
	{name: "rd.net.", instead: sayTimeout},
	{name: "rd.nfs.domain", instead: "owners are taken as numbers: let the server send them so"},
	{name: "rd.overlay", instead: sayRW, except: []string{"", "1"}},
	{name: "rd.overlay.", instead: sayRW},
	{name: "rd.live.", instead: noLive},
	{name: "rd.iscsi.", instead: sayLUN},
	{name: "rd.luks", instead: noDisks},
	{name: "rd.luks.", instead: noDisks},
	{name: "rd.lvm", instead: noDisks},
	{name: "rd.lvm.", instead: noDisks},
	{name: "rd.md", instead: noDisks},
	{name: "rd.md.", instead: noDisks},
	{name: "rd.debug", instead: "what was done is in /run/sidusboot/boot.log and boot.json"},
	// Words for systemd and udev in an initramfs, keyboards, and what there is
	// nothing to do for.
	{name: "rd.systemd.", only: []string{}},
	{name: "rd.udev.", only: []string{}},
	{name: "rd.vconsole.", only: []string{}},
	{name: "rd.locale.", only: []string{}},
	{name: "rd.plymouth", only: []string{}},
	{name: "rd.neednet", only: []string{}},
	{name: "rd.auto", only: []string{}},
	{name: "rd.hostonly", only: []string{}},
	{name: "rd.fstab", only: []string{}},
	{name: "rd.skipfsck", only: []string{}},
	{name: "rd.info", only: []string{}},
	{name: "rd.", instead: "it is dracut's, and has no effect here"},
	{name: "rootflags", instead: "NFS options stand behind the path: nfsroot=SERVER:/PATH,OPTIONS"},
	{name: "rootfallback", instead: "there is one root"},
	{name: "mount.usr", instead: "/usr is the tree's"},
	{name: "ip6", instead: "say ip=auto6, ip=dhcp6 or ip=dhcp,dhcp6", except: []string{"none"}},
	{name: "ksdevice", instead: "say sidus.nic= or BOOTIF=", except: []string{"bootif", "BOOTIF"}},
	{name: "ethdevice", instead: "say sidus.nic=, or DEVICE in ip="},
	{name: "ethdevice_timeout", instead: sayTimeout},
	{name: "boot", instead: noLive, only: []string{"live", "casper"}},
	{name: "netboot", instead: noLive, except: []string{"", "nfs"}},
	{name: "fetch", instead: noLive},
	{name: "httpfs", instead: noLive},
	{name: "ftpfs", instead: noLive},
	{name: "findiso", instead: noLive},
	{name: "live_media", instead: noLive},
	{name: "live_media_path", instead: noLive},
	{name: "toram", instead: noLive},
	{name: "nfscow", instead: sayRW},
	{name: "nfsoverlay", instead: sayRW},
	{name: "persistence", instead: sayRW},
	{name: "persistent", instead: sayRW},
	{name: "overlay_size", instead: "say sidus.rw.size="},
	{name: "overlayroot", instead: sayRW, except: []string{"disabled"}},
	{name: "union", instead: "say sidus.union="},
	{name: "ltsp.image", instead: noLive},
}

// findForeign finds the entry for a canonical name, or nil.
func findForeign(name string) *foreignWord {
	for i := range foreignWords {
		w := &foreignWords[i]
		if w.name == name || strings.HasSuffix(w.name, ".") && strings.HasPrefix(name, w.name) {
			return w
		}
	}
	return nil
}

// warnOf tells that a parameter is not obeyed. Its value stays out, which may be
// a password.
func (c *Config) warnOf(w *foreignWord, a arg) {
	if w.only != nil && !slices.Contains(w.only, a.value) || isOff(a.value) || slices.Contains(w.except, a.value) {
		return
	}
	text := strconv.Quote(a.name) + " is not supported: " + w.instead
	if !slices.Contains(c.Notes, text) {
		c.Notes = append(c.Notes, text)
	}
}
