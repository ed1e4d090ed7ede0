package initrd

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A KernelFormat is what kind of file a kernel is.
type KernelFormat string

// The formats.
const (
	// BzImage is that of x86. With an EFI stub, as Debian's have, it is an EFI program too.
	BzImage KernelFormat = "bzImage"
	// Image is that of arm64, not compressed, an EFI program too.
	Image KernelFormat = "Image"
	// ImageGz is an Image packed by gzip. Firmware and EFI loaders do not start it, U-Boot
	// (booti) and QEMU do.
	ImageGz KernelFormat = "Image.gz"
	// ZBoot is an EFI program that unpacks an Image (CONFIG_EFI_ZBOOT). Only EFI loaders
	// start it.
	ZBoot KernelFormat = "vmlinuz.efi"
)

// A KernelFile is what the file of a kernel says of itself.
type KernelFile struct {
	// Architecture is what it runs on, as Debian calls it: amd64, i386, arm64.
	Architecture string
	Format       KernelFormat
	// Release is what uname -r prints under it. Empty: it is packed in a way that is not
	// unpacked here.
	Release string
}

// Offsets of the boot protocol of x86 (Documentation/arch/x86/boot.rst).
const (
	bootMagicAt   = 0x202 // "HdrS"
	bootReleaseAt = 0x20e // Where the text of the release begins, less 0x200.
	bootFlagsAt   = 0x236 // XLF_KERNEL_64 is 1.
)

// Offsets in an Image of arm64 (Documentation/arch/arm64/booting.rst), in the header of
// one that unpacks itself (drivers/firmware/efi/libstub/zboot-header.S), and in any EFI
// program.
const (
	imageMagicAt   = 0x38 // "ARM\x64"
	zbootMagicAt   = 4    // "zimg"
	zbootPayloadAt = 8    // Offset and size.
	zbootMethodAt  = 24   // A text of up to 32 bytes.
	peHeaderAt     = 0x3c
)

// ErrNotKernel is about a file that is no kernel that a boot loader takes.
var ErrNotKernel = errors.New("not a kernel image (bzImage of x86, or Image of arm64)")

// ReadKernelFile reads what a kernel's file, as /boot/vmlinuz, says of itself. The error
// is ErrNotKernel, or one of reading.
func ReadKernelFile(kernel io.ReaderAt) (KernelFile, error) {
	head := make([]byte, 0x1000)
	n, err := kernel.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return KernelFile{}, err
	}
	head = head[:n]
	whole := io.NewSectionReader(kernel, 0, maxFile)
	switch {
	case isImage(head):
		release, err := findRelease(whole)
		return KernelFile{archNames[arm64], Image, release}, err
	case hasAt(head, 0, "\x1f\x8b"):
		return readPackedImage(whole)
	case hasAt(head, 0, "MZ") && hasAt(head, zbootMagicAt, "zimg"):
		return readZBoot(kernel, head)
	case hasAt(head, bootMagicAt, "HdrS") && len(head) > bootFlagsAt:
		return readBzImage(kernel, head)
	}
	return KernelFile{}, ErrNotKernel
}

func hasAt(head []byte, at int, magic string) bool {
	return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
}

func isImage(head []byte) bool { return hasAt(head, imageMagicAt, "ARM\x64") }

func readBzImage(kernel io.ReaderAt, head []byte) (KernelFile, error) {
	k := KernelFile{Architecture: "i386", Format: BzImage}
	if head[bootFlagsAt]&1 != 0 {
		k.Architecture = archNames[amd64]
	}
	at := int64(binary.LittleEndian.Uint16(head[bootReleaseAt:]))
	text := make([]byte, 256)
	n, err := kernel.ReadAt(text, 0x200+at)
	if err != nil && !errors.Is(err, io.EOF) {
		return KernelFile{}, err
	}
	text, _, ok := bytes.Cut(text[:n], []byte{0})
	k.Release, _, _ = strings.Cut(string(text), " ")
	if at == 0 || !ok || k.Release == "" {
		return KernelFile{}, fmt.Errorf("%w: its release is not in it", ErrNotKernel)
	}
	return k, nil
}

// readPackedImage reads an Image packed by gzip.
func readPackedImage(packed io.Reader) (KernelFile, error) {
	z, err := gzip.NewReader(packed)
	if err != nil {
		return KernelFile{}, ErrNotKernel
	}
	defer z.Close()
	head := make([]byte, imageMagicAt+4)
	if _, err := io.ReadFull(z, head); err != nil || !isImage(head) {
		return KernelFile{}, fmt.Errorf("%w: it is compressed by gzip, but its content is not an Image of arm64", ErrNotKernel)
	}
	release, err := findRelease(io.LimitReader(z, maxFile))
	return KernelFile{archNames[arm64], ImageGz, release}, err
}

// readZBoot reads an EFI program that unpacks an Image.
func readZBoot(kernel io.ReaderAt, head []byte) (KernelFile, error) {
	machine := make([]byte, 6) // "PE\0\0" and the machine.
	if len(head) < peHeaderAt+4 {
		return KernelFile{}, ErrNotKernel
	}
	_, err := kernel.ReadAt(machine, int64(binary.LittleEndian.Uint32(head[peHeaderAt:])))
	if err != nil || string(machine[:4]) != "PE\x00\x00" || binary.LittleEndian.Uint16(machine[4:]) != pe.IMAGE_FILE_MACHINE_ARM64 {
		return KernelFile{}, fmt.Errorf("%w: it is an EFI program, but not for arm64", ErrNotKernel)
	}
	k := KernelFile{Architecture: archNames[arm64], Format: ZBoot}
	payload := io.NewSectionReader(kernel, int64(binary.LittleEndian.Uint32(head[zbootPayloadAt:])), int64(binary.LittleEndian.Uint32(head[zbootPayloadAt+4:])))
	var unpacked io.Reader
	switch method, _, _ := strings.Cut(string(head[zbootMethodAt:zbootMethodAt+32]), "\x00"); method {
	case "gzip":
		z, err := gzip.NewReader(payload)
		if err != nil {
			return KernelFile{}, fmt.Errorf("%w: the Image in it is damaged (%w)", ErrNotKernel, err)
		}
		defer z.Close()
		unpacked = z
	case "zstd", "zstd22":
		z, err := zstd.NewReader(payload, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxFile), zstd.WithDecoderMaxWindow(maxDictionary))
		if err != nil {
			return KernelFile{}, err
		}
		defer z.Close()
		unpacked = z
	default:
		return k, nil
	}
	k.Release, err = findRelease(io.LimitReader(unpacked, maxFile))
	return k, err
}

// findRelease looks for the line that a kernel prints first, "Linux version 6.1.0-arm64
// (…". Empty: it is not there.
func findRelease(image io.Reader) (string, error) {
	const magic, longest = "Linux version ", 256
	buf := make([]byte, 1<<20)
	have := 0
	for {
		var err error
		for n := 0; have < len(buf) && err == nil; have += n {
			n, err = image.Read(buf[have:])
		}
		for text := buf[:have]; ; {
			i := bytes.Index(text, []byte(magic))
			if i < 0 || err == nil && len(text)-i < longest {
				break
			}
			text = text[i+len(magic):]
			word, rest, ok := bytes.Cut(text[:min(longest, len(text))], []byte(" "))
			if ok && len(word) > 0 && '0' <= word[0] && word[0] <= '9' && bytes.HasPrefix(rest, []byte("(")) {
				return string(word), nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return "", nil
		case err != nil:
			return "", fmt.Errorf("%w: it is damaged (%w)", ErrNotKernel, err)
		}
		have = copy(buf, buf[have-longest:have])
	}
}
