// Package initrdtest makes small root trees, kernel modules and programs for
// tests of the generator. Nothing in them can run or be loaded.
package initrdtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/sidusboot/sidusboot/image"
)

// Release is that of the only kernel in a Tree.
const Release = "6.1.0-test"

// A Module is a line of modules.dep, and the file that it names.
type Module struct {
	// Path and Deps are what modules.dep says of it.
	Path, Deps string
	// Firmware are the files that it names.
	Firmware []string
	// Imports are the symbols of the kernel that it uses.
	Imports []string
	// Aliases are patterns for modules.alias. Only AddModule writes them.
	Aliases []string
}

// Modules are those of a Tree: each kind that a profile chooses or leaves out,
// each compressor.
func Modules() []Module {
	return []Module{
		{Path: "kernel/arch/x86/crypto/crc32c-intel.ko"},
		{Path: "kernel/crypto/crc32c_generic.ko"},
		{Path: "kernel/net/sunrpc/sunrpc.ko"},
		{Path: "kernel/fs/nfs_common/grace.ko"},
		{Path: "kernel/fs/lockd/lockd.ko", Deps: "kernel/fs/nfs_common/grace.ko kernel/net/sunrpc/sunrpc.ko"},
		{Path: "kernel/fs/nfs/nfs.ko.xz", Deps: "kernel/fs/lockd/lockd.ko kernel/fs/nfs_common/grace.ko kernel/net/sunrpc/sunrpc.ko"},
		{Path: "kernel/fs/nfs/nfsv3.ko", Deps: "kernel/fs/nfs/nfs.ko.xz kernel/fs/lockd/lockd.ko kernel/fs/nfs_common/grace.ko kernel/net/sunrpc/sunrpc.ko"},
		{Path: "kernel/fs/nfs/nfsv4.ko.zst", Deps: "kernel/fs/nfs/nfs.ko.xz kernel/fs/lockd/lockd.ko kernel/fs/nfs_common/grace.ko kernel/net/sunrpc/sunrpc.ko"},
		{Path: "kernel/fs/overlayfs/overlay.ko.gz"},
		{Path: "kernel/fs/ext4/ext4.ko", Deps: "kernel/fs/jbd2/jbd2.ko"},
		{Path: "kernel/fs/jbd2/jbd2.ko"},
		{Path: "kernel/drivers/virtio/virtio.ko"},
		{Path: "kernel/drivers/virtio/virtio-pci.ko", Deps: "kernel/drivers/virtio/virtio.ko"},
		{Path: "kernel/drivers/net/virtio_net.ko", Deps: "kernel/drivers/virtio/virtio.ko"},
		{Path: "kernel/drivers/net/phy/libphy.ko"},
		{Path: "kernel/drivers/net/phy/realtek.ko", Deps: "kernel/drivers/net/phy/libphy.ko"},
		{Path: "kernel/drivers/net/ethernet/realtek/r8169.ko", Deps: "kernel/drivers/net/phy/libphy.ko",
			Firmware: []string{"rtl_nic/a.fw", "rtl_nic/b.fw", "rtl_nic/gone.fw"}},
		{Path: "kernel/drivers/net/ethernet/intel/e1000/e1000.ko"},
		{Path: "kernel/drivers/net/ethernet/mellanox/mlxsw/mlxsw_core.ko"},
		{Path: "kernel/drivers/net/usb/r8152.ko"},
		{Path: "kernel/drivers/net/usb/qmi_wwan.ko"},
		{Path: "kernel/drivers/net/wireless/ath9k.ko"},
		{Path: "kernel/drivers/net/macvlan.ko", Imports: []string{"register_netdevice"}},
		{Path: "kernel/drivers/staging/qlge/qlge.ko", Imports: []string{"alloc_etherdev_mqs"}},
	}
}

const fakeAliases = `# Aliases extracted from modules themselves.
alias crypto-crc32c-intel crc32c_intel
alias crypto-crc32c crc32c_intel
alias crypto-crc32c crc32c_generic
alias fs-nfs4 nfsv4
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias virtio:d00000001v* virtio_net
alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169
alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000
alias acpi*:FAKE0001:* e1000
alias usb:v0BDAp8152d*dc*dsc*dp*ic*isc*ip*in* r8152
alias pci:v0000168Cd0000002Asv*sd*bc*sc*i* ath9k
`

const fakeSoftdeps = `softdep ext4 pre: crypto-crc32c
softdep r8169 pre: realtek
softdep nfsv3 pre: not-there post: dns-also-not-there
`

// Tree makes a root tree with one kernel, laid out as Debian's are: lib is a
// link, and here an absolute one.
func Tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "usr/lib/modules", Release)
	var dep, builtin strings.Builder
	for _, m := range Modules() {
		dep.WriteString(strings.TrimSpace(m.Path+": "+m.Deps) + "\n")
		WriteFile(t, filepath.Join(dir, m.Path), Pack(t, m.Path, ModuleFile(m.Path, m.Firmware, m.Imports...)))
	}
	builtin.WriteString("kernel/net/packet/af_packet.ko\nkernel/net/dns_resolver/dns-resolver.ko\n")
	WriteFile(t, filepath.Join(dir, "modules.dep"), []byte(dep.String()))
	WriteFile(t, filepath.Join(dir, "modules.alias"), []byte(fakeAliases))
	WriteFile(t, filepath.Join(dir, "modules.softdep"), []byte(fakeSoftdeps))
	WriteFile(t, filepath.Join(dir, "modules.builtin"), []byte(builtin.String()))
	if err := os.Symlink("/usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	WriteFile(t, filepath.Join(root, "usr/lib/firmware/rtl_nic/a.fw"), []byte("firmware a"))
	WriteFile(t, filepath.Join(root, "usr/lib/firmware/rtl_nic/b-1.fw.xz"), Pack(t, ".xz", []byte("firmware b")))
	if err := os.Symlink("b-1.fw.xz", filepath.Join(root, "usr/lib/firmware/rtl_nic/b.fw.xz")); err != nil {
		t.Fatal(err)
	}
	WriteFile(t, filepath.Join(root, "etc/modprobe.d/site.conf"), []byte("options e1000 copybreak=0 \\\n debug=1\nblacklist r8152\n"))
	return root
}

// SetMachine makes all modules of a kernel, in a tree that Tree made, those for another machine.
func SetMachine(t *testing.T, root, release string, machine elf.Machine) {
	t.Helper()
	for _, m := range Modules() {
		WriteFile(t, filepath.Join(root, "usr/lib/modules", release, m.Path), Pack(t, m.Path, ModuleFor(machine, m)))
	}
}

// ModuleFor is the ModuleFile of a module, for a machine.
func ModuleFor(machine elf.Machine, m Module) []byte {
	file := ModuleFile(m.Path, m.Firmware, m.Imports...)
	binary.LittleEndian.PutUint16(file[18:], uint16(machine)) // e_machine
	return file
}

// ProgramFor is a Program for a machine.
func ProgramFor(machine elf.Machine) []byte {
	return Program(nil, func(h *elf.Header64, _ *elf.Prog64) { h.Machine = uint16(machine) })
}

// KernelFile is the file of a kernel for amd64 or arm64 that says which release it is.
func KernelFile(machine elf.Machine, release string) []byte {
	b := make([]byte, 0x1000)
	if machine == elf.EM_AARCH64 {
		copy(b, "MZ")
		copy(b[0x38:], "ARM\x64")
		copy(b[0x900:], "Linux version %s\x00Linux version "+release+" (somebody@somewhere) #1 SMP")
		return b
	}
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x400)
	b[0x236] = 1 // XLF_KERNEL_64
	copy(b[0x600:], release+" (somebody@somewhere) #1 SMP\x00")
	return b
}

// AddModule adds a module to a tree that Tree made.
func AddModule(t *testing.T, root string, m Module) {
	t.Helper()
	dir := filepath.Join(root, "usr/lib/modules", Release)
	WriteFile(t, filepath.Join(dir, m.Path), Pack(t, m.Path, ModuleFile(m.Path, m.Firmware, m.Imports...)))
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, filepath.Join(dir, "modules.dep"), append(dep, strings.TrimSpace(m.Path+": "+m.Deps)+"\n"...))
	alias, err := os.ReadFile(filepath.Join(dir, "modules.alias"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range m.Aliases {
		alias = append(alias, "alias "+pattern+" "+moduleName(m.Path)+"\n"...)
	}
	WriteFile(t, filepath.Join(dir, "modules.alias"), alias)
}

// WriteFile writes a file, with the directories above it.
func WriteFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// pack compresses as the name says.
func Pack(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = nopCloser{&b}
	var err error
	switch filepath.Ext(name) {
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ModuleFile is the content of a module: an object file with a .modinfo section and a table of the symbols
// that it asks for, and nothing else.
func ModuleFile(name string, firmware []string, imports ...string) []byte {
	var info, strtab bytes.Buffer
	info.WriteString("license=GPL\x00name=" + moduleName(name) + "\x00")
	for _, f := range firmware {
		info.WriteString("firmware=" + f + "\x00")
	}
	strtab.WriteByte(0)
	symbols := []elf.Sym64{{}}
	for _, name := range imports {
		symbols = append(symbols, elf.Sym64{Name: uint32(strtab.Len()), Info: uint8(elf.STB_GLOBAL) << 4})
		strtab.WriteString(name + "\x00")
	}
	names := "\x00.modinfo\x00.symtab\x00.strtab\x00.shstrtab\x00"
	nameOf := func(section string) uint32 { return uint32(strings.Index(names, section)) }

	const ehsize, shsize, symsize = 64, 64, 24
	infoOff := uint64(ehsize)
	symOff := infoOff + uint64(info.Len())
	strOff := symOff + uint64(len(symbols))*symsize
	namesOff := strOff + uint64(strtab.Len())
	h := Header(elf.ET_REL)
	h.Shoff, h.Shentsize, h.Shnum, h.Shstrndx = namesOff+uint64(len(names)), shsize, 5, 4
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	b.Write(info.Bytes())
	binary.Write(&b, binary.LittleEndian, symbols)
	b.Write(strtab.Bytes())
	b.WriteString(names)
	binary.Write(&b, binary.LittleEndian, []elf.Section64{
		{},
		{Name: nameOf(".modinfo"), Type: uint32(elf.SHT_PROGBITS), Off: infoOff, Size: uint64(info.Len())},
		{Name: nameOf(".symtab"), Type: uint32(elf.SHT_SYMTAB), Off: symOff, Size: strOff - symOff, Link: 3, Entsize: symsize},
		{Name: nameOf(".strtab"), Type: uint32(elf.SHT_STRTAB), Off: strOff, Size: uint64(strtab.Len())},
		{Name: nameOf(".shstrtab"), Type: uint32(elf.SHT_STRTAB), Off: namesOff, Size: uint64(len(names))},
	})
	return b.Bytes()
}

// Program is a static program that holds data and does nothing. edit changes
// its header and its only segment.
func Program(data []byte, edit ...func(*elf.Header64, *elf.Prog64)) []byte {
	const ehsize, phsize = 64, 56
	h := Header(elf.ET_EXEC)
	h.Entry, h.Phoff, h.Phentsize, h.Phnum = 0x400000, ehsize, phsize, 1
	p := elf.Prog64{Type: uint32(elf.PT_LOAD), Filesz: uint64(ehsize + phsize + len(data))}
	for _, f := range edit {
		f(&h, &p)
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	binary.Write(&b, binary.LittleEndian, p)
	b.Write(data)
	return b.Bytes()
}

// Header is the ELF header of a file without any sections or segments.
func Header(kind elf.Type) elf.Header64 {
	h := elf.Header64{Type: uint16(kind), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	return h
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// moduleName is the name of the module in a file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return image.CanonicalName(name)
}
