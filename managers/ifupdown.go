package managers

import (
	"fmt"
	"slices"
	"strings"
)

// ifupdown makes Debian's ifupdown believe that it has brought the NIC up
// already: ifup does nothing then, and its wait for the network ends at once.
// ifquery reads the state of all from one file, ifup and ifdown that of each
// device from its own (0.8.41; with the first alone ifup runs DHCP, measured).
// ifup@.service, which udev starts for an allow-hotplug line, would run ifdown
// at the end.
func (a Advice) ifupdown() []File {
	const state = "/run/network/ifstate"
	all := ""
	var files []File
	for _, device := range a.Devices() {
		all += device + "=" + device + "\n"
		files = append(files,
			File{Path: state + "." + device, Mode: 0o644, Text: device + "\n"},
			File{
				Path: "/run/systemd/system/ifup@" + escape(device) + ".service.d/sidusboot.conf", Mode: 0o644,
				Text: written + "[Service]\nExecStop=\n",
			})
	}
	return append(files, File{Path: state, Mode: 0o644, Text: all})
}

// NetworkingUnit is what brings ifupdown's NICs up and down. Networking has to
// be asked what to tell it.
const NetworkingUnit = "networking.service"

// The script that learns the NIC's other names, and what it writes.
const (
	namesScript  = "/run/network/sidusboot-names"
	excludedFile = "/run/network/sidusboot-excluded"
)

// Networking are the files for the tree's networking.service, whose text unit
// is: what it runs to stop is given the NIC's names to exclude. Other commands
// than ifupdown's ifdown -a are left out, since their effect is not
// known; the NICs stay up then. Without any command there are no files.
//
// An installed Debian knows its NICs by udev's predictable names, and eth0 has
// those for alternative names: ifup enp0s3 would run DHCP on it, ifdown enp0s3
// would take it down (measured). Only udev knows these names, so that a script
// asks for them before ifup runs.
func (a Advice) Networking(unit string) []File {
	commands := execStop(unit)
	if len(commands) == 0 {
		return nil
	}
	text := written + "[Service]\nExecStartPre=-/bin/sh " + namesScript + "\nExecStop=\n"
	for _, command := range commands {
		program := strings.TrimLeft(command, "-@:+!")
		argv := strings.Fields(program)
		if len(argv) == 0 || !strings.HasSuffix(argv[0], "/ifdown") || !slices.Contains(argv, "-a") || strings.Contains(command, "'") {
			continue
		}
		text += "ExecStop=/bin/sh -c 'exec " + program + " $$(cat " + excludedFile + ")'\n"
	}
	excluded := ""
	for _, device := range a.Devices() {
		excluded += "--exclude=" + device + "\n"
	}
	return []File{
		{Path: "/run/systemd/system/" + NetworkingUnit + ".d/sidusboot.conf", Mode: 0o644, Text: text},
		{Path: namesScript, Mode: 0o644, Text: a.namesScript()},
		{Path: excludedFile, Mode: 0o644, Text: excluded},
	}
}

func (a Advice) namesScript() string {
	return written + `# The names that udev gave it besides count as brought up too.
cd /run/network || exit
for device in ` + strings.Join(a.Devices(), " ") + `; do
	for name in $(ip -o link show dev "$device" | tr '\\' '\n' | sed -n 's/^ *altname \([^ ]*\).*/\1/p'); do
		[ -e "ifstate.$name" ] && continue
		echo "$name=$name" >>ifstate
		echo "$name" >"ifstate.$name"
		echo "--exclude=$name" >>` + excludedFile + `
	done
done
`
}

// execStop are the unit's commands to stop (systemd.service(5)): an empty one
// takes back those before it.
func execStop(unit string) []string {
	var commands []string
	unit = strings.ReplaceAll(unit, "\\\n", " ")
	for line := range strings.Lines(unit) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.TrimSpace(name) != "ExecStop" {
			continue
		}
		if value = strings.TrimSpace(value); value == "" {
			commands = nil
			continue
		}
		commands = append(commands, value)
	}
	return commands
}

// escape is a device's name as the instance in a unit's name (systemd.unit(5)).
func escape(device string) string {
	var b strings.Builder
	for i := range len(device) {
		c := device[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == ':' || c == '_' || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
