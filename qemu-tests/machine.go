package qemutests

// A Machine is the kind of computer that a guest is.
type Machine string

const (
	// PC is a PC with amd64: QEMU's pc, with UEFI q35.
	PC Machine = ""
	// ARM64 is QEMU's virt with a processor of arm64. With Firmware it has ACPI and SMBIOS, else
	// a device tree.
	ARM64 Machine = "arm64"
)

// AAVMF's program and its variables, of Debian's qemu-efi-aarch64.
const (
	aavmfCode      = "/usr/share/AAVMF/AAVMF_CODE.fd"
	aavmfVariables = "/usr/share/AAVMF/AAVMF_VARS.fd"
)

// program is the emulator's name on every distribution that has it.
func (m Machine) program() string {
	if m == ARM64 {
		return "qemu-system-aarch64"
	}
	return qemuProgram
}

// console is the terminal that the kernel is told to use.
func (m Machine) console() string {
	if m == ARM64 {
		return "ttyAMA0"
	}
	return "ttyS0"
}

// EventParam is that of the machine: a serial port that is not the console's.
func (m Machine) EventParam() string {
	if m == ARM64 {
		return "sidus.events=ttyS0"
	}
	return EventParam
}

// processor is what QEMU emulates. The signing of pointers (PAuth) by the algorithm of
// arm64 would be most of the emulator's work.
func (m Machine) processor() string {
	if m == ARM64 {
		return "max,pauth-impdef=on"
	}
	return "max"
}

// ports are QEMU's arguments for the serial ports: the console, the events, the agent. ARM64
// has one port of its own, the others are PCI cards.
func (m Machine) ports() []string {
	if m == ARM64 {
		return []string{"-serial", "chardev:console", "-device", "pci-serial,chardev=events", "-device", "pci-serial,chardev=agent"}
	}
	return []string{"-serial", "chardev:console", "-serial", "chardev:events", "-serial", "chardev:agent"}
}

// variables is the machine's store of UEFI's variables before anything is stored in it.
func (m Machine) variables() string {
	if m == ARM64 {
		return aavmfVariables
	}
	return ovmfVariables
}
