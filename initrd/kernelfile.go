package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Offsets of the boot protocol of x86 (Documentation/arch/x86/boot.rst).
const (
	bootMagicAt   = 0x202 // "HdrS"
	bootReleaseAt = 0x20e // Where the text of the release begins, less 0x200.
)

// ErrNotKernel is about a file that is no kernel that a boot loader takes.
var ErrNotKernel = errors.New("not a kernel image (bzImage of x86, or Image of arm64)")

// KernelRelease reads from a kernel's file, as /boot/vmlinuz, which release it is:
// what uname -r prints under it. It is empty for a kernel of arm64, which does not have it
// at a fixed place.
func KernelRelease(kernel io.ReaderAt) (string, error) {
	head := make([]byte, 0x1000)
	n, err := kernel.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	switch {
	case len(head) > 0x40 && string(head[0x38:0x3c]) == "ARM\x64":
		return "", nil
	case len(head) < bootReleaseAt+2 || string(head[bootMagicAt:bootMagicAt+4]) != "HdrS":
		return "", ErrNotKernel
	}
	at := int64(head[bootReleaseAt]) | int64(head[bootReleaseAt+1])<<8
	text := make([]byte, 256)
	n, err = kernel.ReadAt(text, 0x200+at)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	text, _, ok := bytes.Cut(text[:n], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	if at == 0 || !ok || release == "" {
		return "", fmt.Errorf("%w: it does not name its release", ErrNotKernel)
	}
	return release, nil
}
