package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// rewriteFstab comments out the tree's own line for "/", which would make
// systemd remount the union with another file system's options, and says which
// lines are about a disk that this node has not: of the machine that the tree
// was copied from, mostly. systemd waits for such a one and then starts nothing
// but an emergency shell.
func (n *node) rewriteFstab(ro, root string) error {
	old, empty, err := readUnion(ro, root, "/etc/fstab")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	nofail := n.cfg.Fstab == config.FstabNoFail
	text, absent := editFstab(string(old), nofail, func(spec string) bool { return rwlayer.Present(spec, "/sys", "/dev") })
	for _, line := range absent {
		if nofail {
			n.log.noticef("/etc/fstab, %s: there is no such device so far: it was given nofail", line)
			continue
		}
		n.note(fmt.Sprintf("/etc/fstab, %s: there is no such device so far: if there will be none, systemd waits 90 s and may start an emergency shell: "+
			"remove the line in the tree, give it nofail, or set sidus.fstab=nofail", line))
	}
	if text == string(old) && !empty {
		return nil
	}
	return tree.At(root).Replace("/etc/fstab", []byte(text))
}

// rootNote is put before a line of fstab for the root.
const rootNote = "# sidusboot: / is the union already: "

// editFstab returns an fstab(5) in which lines for "/" are comments, and, with
// nofail, lines for devices that are not present have that option. absent are
// those lines, for a message. The rest stays byte for byte.
func editFstab(text string, nofail bool, present func(spec string) bool) (edited string, absent []string) {
	var b strings.Builder
	number := 0
	for line := range strings.Lines(text) {
		number++
		f := fields(line)
		switch {
		case len(f) < 2 || f[0].text[0] == '#':
		case path.Clean(unescape(f[1].text)) == "/":
			b.WriteString(rootNote)
		case needed(f) && !present(deviceSpec(f[0].text)):
			absent = append(absent, fmt.Sprintf("line %d, %s on %s", number, f[0].text, f[1].text))
			if nofail {
				line = withOption(line, f, "nofail")
			}
		}
		b.WriteString(line)
	}
	return b.String(), absent
}

// A field is one field of a line and where it ends.
type field struct {
	text string
	end  int
}

func fields(line string) (all []field) {
	rest := 0
	for _, text := range strings.Fields(line) {
		rest += strings.Index(line[rest:], text) + len(text)
		all = append(all, field{text: text, end: rest})
	}
	return all
}

// needed tells whether systemd makes the boot depend on the line's device.
func needed(f []field) bool {
	spec := f[0].text
	if !slices.ContainsFunc([]string{"UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "/dev/"}, func(start string) bool {
		return strings.HasPrefix(spec, start)
	}) {
		return false
	}
	if len(f) < 3 {
		return false // No line that systemd understands.
	}
	if len(f) < 4 {
		return true
	}
	for _, option := range strings.Split(f[3].text, ",") {
		switch option {
		case "nofail", "noauto", "_netdev", "x-systemd.automount":
			return false
		}
	}
	return true
}

// byLinks are udev's names for what can be looked for without udev.
var byLinks = map[string]string{"/dev/disk/by-uuid/": "UUID=", "/dev/disk/by-label/": "LABEL=", "/dev/disk/by-partuuid/": "PARTUUID="}

// deviceSpec is the device of a line as rwlayer.Present knows it.
func deviceSpec(spec string) string {
	for dir, key := range byLinks {
		if name, ok := strings.CutPrefix(spec, dir); ok {
			return key + unescape(name)
		}
	}
	key, value, ok := strings.Cut(spec, "=")
	if !ok {
		return spec
	}
	// blkid(8) prints values in quotes.
	return key + "=" + unescape(strings.Trim(value, `"`))
}

// withOption adds an option to a line.
func withOption(line string, f []field, option string) string {
	if len(f) == 3 {
		return line[:f[2].end] + " " + option + line[f[2].end:]
	}
	return line[:f[3].end] + "," + option + line[f[3].end:]
}
