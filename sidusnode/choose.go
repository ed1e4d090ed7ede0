package sidusnode

import (
	"fmt"
	"strings"
)

// The ways to another version, the cheapest first.
const (
	soft   = "soft-reboot"
	kexec  = "kexec"
	reboot = "reboot"
)

// softSystemd is the first systemd with soft-reboot.
const softSystemd = 254

// A target is what an update leads to, and what was found out about it.
type target struct {
	id string
	// boots is the version that a node gets which boots now: the current one, or
	// that of sidus.version=.
	boots string
	// systemd is the version of the one that runs, 0 where none does.
	systemd int
	// rw is what /rw is.
	rw string
	// newInit says what is wrong with the version's init program for a soft-reboot.
	newInit string
	// stays is empty if the kernel and the image that run can stay, else the reason.
	stays string
	// release is the kernel in the version's /boot that has an image of sidusboot
	// beside it; empty: there is none.
	release string
	// noKexec is why this kernel starts no other one; empty: it may.
	noKexec string
}

// obstacle says why a way cannot be gone, or is empty.
func (t *target) obstacle(way string) string {
	switch {
	case way == reboot:
		if t.id != t.boots {
			return fmt.Sprintf("a reboot would boot version %s, not %s", t.boots, t.id)
		}
	case t.systemd == 0:
		return "the init program is not systemd"
	case way == soft:
		switch {
		case t.systemd < softSystemd:
			return fmt.Sprintf("systemd is version %d, and soft-reboot needs %d or later", t.systemd, softSystemd)
		case t.rw != "tmpfs":
			return "/rw is a volume, which cannot be in two unions at the same time"
		case t.stays != "":
			return t.stays
		}
		return t.newInit
	case t.noKexec != "":
		return t.noKexec
	case t.release == "":
		return "the version has no /boot/" + imagePrefix + "RELEASE with /boot/" + kernelPrefix + "RELEASE"
	}
	return ""
}

// choose is the way to take: the one that was asked for, or the cheapest that
// suffices, and why. An error says why there is none.
func (t *target) choose(asked string) (way, why string, err error) {
	if asked != "" {
		if reason := t.obstacle(asked); reason != "" {
			return "", "", fmt.Errorf("cannot update by %s: %s; nothing was changed", asked, reason)
		}
		return asked, "as requested", nil
	}
	var reasons []string
	for _, way := range []string{soft, kexec, reboot} {
		reason := t.obstacle(way)
		if reason == "" {
			if len(reasons) == 0 {
				reasons = []string{"same kernel and image"}
			}
			return way, strings.Join(reasons, "; "), nil
		}
		reasons = append(reasons, "no "+way+": "+reason)
	}
	return "", "", fmt.Errorf("cannot update: %s; nothing was changed", strings.Join(reasons, "; "))
}
