package qemutests

import (
	"fmt"
	"os"
	"strings"
)

// USBNet is the model of a card behind USB, with a controller (xhci) of its own.
// It speaks RNDIS and CDC.
const USBNet = "usb-net"

// qemuProgram is the emulator of PC.
const qemuProgram = "qemu-system-x86_64"

// ports are the chardev back ends of a guest's serial ports and its monitor.
type ports struct {
	console, events, agent, qmp string
}

// socketPorts connect the guest to listeners in the lab.
func socketPorts(dir string) ports {
	at := func(id string) string {
		return fmt.Sprintf("socket,id=%s,path=%s/%s.sock", id, dir, id)
	}
	return ports{console: at("console"), events: at("events"), agent: at("agent"), qmp: at("qmp")}
}

// byHand are ports for a person at a terminal.
var byHand = ports{
	console: "stdio,id=console,signal=off", events: "null,id=events", agent: "null,id=agent", qmp: "null,id=qmp",
}

// qemuArgs is QEMU's command line for a guest.
func qemuArgs(o GuestOptions, p ports) []string {
	args := append([]string{o.Machine.program(), "-nodefaults", "-no-user-config", "-display", "none"}, firmwareArgs(o)...)
	switch {
	case os.Getenv("SIDUSBOOT_KVM") == "1" && !o.Icount && o.Machine == PC:
		args = append(args, "-accel", "kvm", "-cpu", "host")
	case o.Processors > 1: // A thread of QEMU's for each.
		args = append(args, "-accel", "tcg,thread=multi", "-cpu", "max")
	default:
		args = append(args, "-accel", "tcg,thread=single", "-cpu", o.Machine.processor())
	}
	if o.Icount {
		args = append(args, "-icount", "shift=1,sleep=on")
	}
	args = append(args, "-smp", fmt.Sprint(max(o.Processors, 1)), "-m", fmt.Sprint(o.Memory))
	if !o.Reboot {
		args = append(args, "-action", "reboot=shutdown")
	}
	args = append(args, "-chardev", p.console, "-chardev", p.events, "-chardev", p.agent)
	args = append(args, o.Machine.ports()...)
	args = append(args,
		"-chardev", p.qmp, "-mon", "chardev=qmp,mode=control",
		"-device", "virtio-rng-pci",
	)
	if o.UUID != "" {
		args = append(args, "-uuid", o.UUID)
	}
	for i, nic := range o.NICs {
		// No ROM: few guests boot from the card, and looking for a server costs seconds.
		rest := ",romfile="
		if o.Firmware == BIOS {
			rest = fmt.Sprintf(",bootindex=%d", i)
		} else if o.Firmware == UEFI {
			rest += fmt.Sprintf(",bootindex=%d", i) // UEFI has its own driver.
		}
		if nic.Model == USBNet {
			rest = ""
			args = append(args, "-device", fmt.Sprintf("qemu-xhci,id=xhci%d", i))
		}
		args = append(args,
			"-netdev", nic.backend(fmt.Sprintf("net%d", i)),
			"-device", fmt.Sprintf("%s,id=%s,netdev=net%d,mac=%s%s", nic.Model, cardID(i), i, nic.MAC, rest))
	}
	if o.Firmware != "" {
		return append(args, o.QEMU...)
	}
	args = append(args, "-kernel", o.Kernel)
	if o.Initrd != "" {
		args = append(args, "-initrd", o.Initrd)
	}
	args = append(args, "-append", o.Cmdline)
	return append(args, o.QEMU...)
}

// cardID is QEMU's name for a guest's card.
func cardID(card int) string { return fmt.Sprintf("card%d", card) }

// quoted is a command line that a shell understands.
func quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		if arg == "" || strings.ContainsAny(arg, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words[i] = arg
	}
	return strings.Join(words, " ")
}
