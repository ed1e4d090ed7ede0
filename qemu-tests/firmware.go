package qemutests

import (
	"fmt"
	"os"
)

// A Firmware starts a guest as its power button does.
type Firmware string

// The kinds of firmware, of Debian's seabios, ipxe-qemu and ovmf.
const (
	// BIOS is SeaBIOS with iPXE in the card's ROM, which does PXE and, told by DHCP,
	// more.
	BIOS Firmware = "bios"
	// UEFI is OVMF, on ARM64 AAVMF, with its own PXE and HTTP boot.
	UEFI Firmware = "uefi"
)

// OVMF's program and its variables, before anything is stored in them. Secure Boot
// wants System Management Mode: without it a system could write over the keys.
const (
	ovmfCode      = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
	ovmfVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// firmwareArgs are QEMU's arguments for the machine and its firmware.
func firmwareArgs(o GuestOptions) []string {
	switch {
	case o.Machine == ARM64 && o.Firmware == UEFI:
		return []string{
			"-M", "virt",
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + aavmfCode,
			"-drive", "if=pflash,format=raw,unit=1,file=" + o.Variables,
		}
	case o.Machine == ARM64:
		return []string{"-M", "virt"}
	case o.Firmware != UEFI:
		return []string{"-M", "pc"}
	}
	return []string{
		"-M", "q35,smm=on",
		"-global", "driver=cfi.pflash01,property=secure,value=on",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + ovmfCode,
		"-drive", "if=pflash,format=raw,unit=1,file=" + o.Variables,
	}
}

// variables makes a machine's own store of variables, out of a file on the host
// or out of Debian's, and returns its path inside the lab.
func (l *Lab) variables(m Machine, from, inLab string) (string, error) {
	if from == "" {
		from = m.variables()
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return "", fmt.Errorf("firmware: %w", err)
	}
	return inLab, os.WriteFile(l.Path(inLab), b, 0o600)
}
