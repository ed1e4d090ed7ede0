package initrd

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// zboot is an EFI program for a machine of the PE specification that unpacks a payload.
func zboot(machine uint16, method string, payload []byte) []byte {
	const peAt, payloadAt = 0x80, 0x400
	b := make([]byte, payloadAt)
	copy(b, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(b[8:], payloadAt)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(payload)))
	copy(b[24:], method)
	binary.LittleEndian.PutUint32(b[0x3c:], peAt)
	copy(b[peAt:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(b[peAt+4:], machine)
	return append(b, payload...)
}

// TestReadKernelFile has kernels of each format, and what looks like one.
func TestReadKernelFile(t *testing.T) {
	const release = "6.12.0-arm64"
	image := initrdtest.KernelFile(elf.EM_AARCH64, release)
	bz := initrdtest.KernelFile(elf.EM_X86_64, "6.1.0-test")
	i386 := bytes.Clone(bz)
	i386[0x236] = 0
	// The line lies across the ends of what is read at once.
	far := bytes.Clone(image[:0x40])
	far = append(far, make([]byte, 1<<20-len(far)-20)...)
	far = append(append(far, "Linux version 6.12.0-arm64 (a@b)"...), make([]byte, 5000)...)
	gz, zst := initrdtest.Pack(t, ".gz", image), initrdtest.Pack(t, ".zst", image)
	for _, tt := range []struct {
		name string
		file []byte
		want KernelFile
		err  string
	}{
		{name: "bzImage", file: bz, want: KernelFile{"amd64", BzImage, "6.1.0-test"}},
		{name: "bzImage of 32 bits", file: i386, want: KernelFile{"i386", BzImage, "6.1.0-test"}},
		{name: "Image", file: image, want: KernelFile{"arm64", Image, release}},
		{name: "Image, far", file: far, want: KernelFile{"arm64", Image, release}},
		{name: "Image without the line", file: image[:0x900], want: KernelFile{"arm64", Image, ""}},
		{name: "Image.gz", file: gz, want: KernelFile{"arm64", ImageGz, release}},
		{name: "Image.gz cut short", file: gz[:len(gz)/2], err: "not a kernel"},
		{name: "a text packed by gzip", file: initrdtest.Pack(t, ".gz", []byte("a text, and one that is long enough to hold the header of a kernel")), err: "not an Image of arm64"},
		{name: "zboot gzip", file: zboot(0xaa64, "gzip", gz), want: KernelFile{"arm64", ZBoot, release}},
		{name: "zboot zstd", file: zboot(0xaa64, "zstd22", zst), want: KernelFile{"arm64", ZBoot, release}},
		{name: "zboot lzma", file: zboot(0xaa64, "lzma", []byte("lzma")), want: KernelFile{"arm64", ZBoot, ""}},
		{name: "zboot damaged", file: zboot(0xaa64, "gzip", []byte("junk")), err: "not a kernel"},
		{name: "zboot of RISC-V", file: zboot(0x5064, "gzip", gz), err: "not for arm64"},
		{name: "an EFI program", file: append([]byte("MZ"), make([]byte, 0x1000)...), err: "not a kernel"},
		{name: "short", file: []byte("MZ\x00\x00zimg"), err: "not a kernel"},
		{name: "empty", err: "not a kernel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadKernelFile(bytes.NewReader(tt.file))
			if tt.err != "" {
				if !errors.Is(err, ErrNotKernel) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %+v, %v, want an error with %q", got, err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}
