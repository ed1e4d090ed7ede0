package identity

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/mounts"
)

// rootNote is put before a line of fstab for the root.
const rootNote = "# sidusboot: / is the union already: "

// Fstab edits an fstab(5): lines for "/", which would make systemd remount the
// union with another file system's options, become comments; with nofail, lines
// for devices that are not present are given that option. absent are those lines,
// for a message: mostly of the machine that the tree was copied from. systemd
// waits for such a device and then starts nothing but an emergency shell. The
// rest stays byte for byte.
func Fstab(text string, nofail bool, present func(spec string) bool) (edited string, absent []string) {
	var b strings.Builder
	number := 0
	for line := range strings.Lines(text) {
		number++
		f := fields(line)
		switch {
		case len(f) < 2 || f[0].text[0] == '#':
		case path.Clean(mounts.Unescape(f[1].text)) == "/":
			b.WriteString(rootNote)
		case required(f) && !present(deviceSpec(f[0].text)):
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

// required tells whether systemd makes the boot depend on the line's device.
func required(f []field) bool {
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

// udevLinks are udev's names for what can be found without udev.
var udevLinks = map[string]string{"/dev/disk/by-uuid/": "UUID=", "/dev/disk/by-label/": "LABEL=", "/dev/disk/by-partuuid/": "PARTUUID="}

// deviceSpec is the device of a line in the form of the parameter sidus.rw=.
func deviceSpec(spec string) string {
	for dir, key := range udevLinks {
		if name, ok := strings.CutPrefix(spec, dir); ok {
			return key + mounts.Unescape(name)
		}
	}
	key, value, ok := strings.Cut(spec, "=")
	if !ok {
		return spec
	}
	// blkid(8) prints values in quotes.
	return key + "=" + mounts.Unescape(strings.Trim(value, `"`))
}

// withOption adds an option to a line.
func withOption(line string, f []field, option string) string {
	if len(f) == 3 {
		return line[:f[2].end] + " " + option + line[f[2].end:]
	}
	return line[:f[3].end] + "," + option + line[f[3].end:]
}
