package initrd

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"math/rand/v2"

	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// A section of an ELF file that hostileELF makes.
type hostileSection struct {
	name  string
	kind  elf.SectionType
	flags elf.SectionFlag
	link  uint32
	data  []byte
}

// hostileELF is an object file with these sections, and the table of their names
// as the last one, which edit may change.
func hostileELF(sections []hostileSection, edit ...func(*hostileSection)) []byte {
	names := []byte{0}
	var at []uint32
	for _, s := range append(sections, hostileSection{name: ".shstrtab"}) {
		at = append(at, uint32(len(names)))
		names = append(names, s.name+"\x00"...)
	}
	table := hostileSection{name: ".shstrtab", kind: elf.SHT_STRTAB, data: names}
	for _, f := range edit {
		f(&table)
	}
	sections = append(sections, table)
	var body bytes.Buffer
	headers := []elf.Section64{{}}
	for i, s := range sections {
		headers = append(headers, elf.Section64{Name: at[i], Type: uint32(s.kind), Flags: uint64(s.flags), Link: s.link,
			Off: 64 + uint64(body.Len()), Size: uint64(len(s.data)), Entsize: 24})
		body.Write(s.data)
	}
	h := initrdtest.Header(elf.ET_REL)
	h.Shoff, h.Shentsize, h.Shnum, h.Shstrndx = 64+uint64(body.Len()), 64, uint16(len(headers)), uint16(len(headers)-1)
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	b.Write(body.Bytes())
	binary.Write(&b, binary.LittleEndian, headers)
	return b.Bytes()
}

// compressedSection is what SHF_COMPRESSED says: a header, and size zeros packed.
func compressedSection(size int) []byte {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, elf.Chdr64{Type: uint32(elf.COMPRESS_ZLIB), Size: uint64(size), Addralign: 1})
	w := zlib.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for n := 0; n < size; n += len(zeros) {
		w.Write(zeros)
	}
	w.Close()
	return b.Bytes()
}

// zeros packs many of them.
func zeros(t *testing.T, name string, n int) []byte {
	t.Helper()
	return initrdtest.Pack(t, name, make([]byte, n))
}

// A file of a tree may be made to need much memory. It takes little more of it than it
// may have bytes, and the error says what it is.
func TestBombs(t *testing.T) {
	huge := compressedSection(4 * maxNames)
	manySymbols := make([]byte, 24*200_000)
	for _, tt := range []struct {
		name, file string
		data       []byte
		want       string
	}{
		{"zstd", "nfsv3.ko.zst", zeros(t, "x.zst", maxFile+1), "more than 256 MB unpacked"},
		{"gzip", "nfsv3.ko.gz", zeros(t, "x.gz", maxFile+1), "more than 256 MB unpacked"},
		{"xz with a large dictionary", "nfsv3.ko.xz", xzHeader(0x21, 40), "a dictionary of 4096 MB, more than 128"},
		{"section names", "nfsv3.ko", hostileELF(nil, func(s *hostileSection) {
			s.flags, s.data = elf.SHF_COMPRESSED, huge
		}), "section names are compressed"},
		{".modinfo", "nfsv3.ko", hostileELF([]hostileSection{
			{name: ".modinfo", kind: elf.SHT_PROGBITS, flags: elf.SHF_COMPRESSED, data: huge},
		}), ".modinfo is compressed"},
		{"a large .modinfo", "nfsv3.ko", hostileELF([]hostileSection{
			{name: ".modinfo", kind: elf.SHT_PROGBITS, data: make([]byte, maxNames+1)},
		}), ".modinfo has 4194305 bytes, more than 4194304"},
		{"one long name for many sections", "nfsv3.ko", hostileELF(make([]hostileSection, 30_000), func(s *hostileSection) {
			s.data = append(bytes.Repeat([]byte("x"), 1<<20), 0)
		}), "section names are too long"},
		{"no end of sections", "nfsv3.ko", append(hostileELF(nil)[:60], 0, 0, 0, 0, 0, 0, 0, 0), "it has no sections, or more than a module"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := initrdtest.Tree(t)
			dir := filepath.Join(root, "usr/lib/modules", initrdtest.Release)
			text, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
			if err != nil {
				t.Fatal(err)
			}
			initrdtest.WriteFile(t, filepath.Join(dir, "modules.dep"), bytes.ReplaceAll(text, []byte("nfsv3.ko"), []byte(tt.file)))
			initrdtest.WriteFile(t, filepath.Join(dir, "kernel/fs/nfs", tt.file), tt.data)
			opts := fakeOptions(t, root)
			opts.Profiles = []string{"virtual"}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = Build(t.Context(), opts)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "nfs/"+tt.file) {
				t.Errorf("build = %v, want %q", err, tt.want)
			}
			// A buffer that grows to maxFile was some of half its size before.
			if took := after.TotalAlloc - before.TotalAlloc; took > 4*maxFile {
				t.Errorf("build took %d MB", took>>20)
			}
		})
	}
	// Names of symbols are copied for each symbol, one that has no end too.
	f, err := openModule(hostileELF([]hostileSection{
		{name: ".symtab", kind: elf.SHT_SYMTAB, link: 2, data: manySymbols},
		{name: ".strtab", kind: elf.SHT_STRTAB, data: bytes.Repeat([]byte("x"), 1<<20)},
	}))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if names, err := imports(f); err != nil || len(names) > 0 {
		t.Errorf("imports = %d, %v", len(names), err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("imports took %d MB", took>>20)
	}
}

// A file that only seems to be large is not read.
func TestSparseFile(t *testing.T) {
	root := initrdtest.Tree(t)
	name := filepath.Join(root, "usr/lib/modules", initrdtest.Release, "kernel/fs/nfs/nfsv3.ko")
	if err := os.Truncate(name, 1<<40); err != nil {
		t.Skip(err)
	}
	if _, err := Build(t.Context(), fakeOptions(t, root)); err == nil || !strings.Contains(err.Error(), "nfsv3.ko: larger than 256 MB") {
		t.Errorf("build = %v, want an error about its size", err)
	}
}

// xzHeader is the start of an xz file whose first block has one filter.
func xzHeader(filter, property byte) []byte {
	return append([]byte("\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36"), 2, 0, filter, 1, property, 0, 0, 0, 0, 0, 0, 0)
}

// What xz(1) packs with a filter for code is named, with the remedy.
func TestXzFilters(t *testing.T) {
	for id, name := range xzFilters {
		header := xzHeader(id, 0)
		if err := checkXz(header); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "xz --check=crc32") {
			t.Errorf("filter %#x: %v, want an error about %s", id, err, name)
		}
		for n := range header {
			_ = checkXz(header[:n])
		}
	}
	xz, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("xz is not installed")
	}
	plain := initrdtest.ModuleFile("nfs.ko", nil)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--x86", "--lzma2"}, "nfs.ko.xz: compressed by xz with the filter for x86 code (BCJ), which is not supported"},
		{[]string{"--arm", "--lzma2"}, "filter for ARM code"},
		{[]string{"--delta=dist=4", "--lzma2"}, "the delta filter"},
		{[]string{"--check=crc32", "--lzma2=dict=2MiB"}, ""},
		{[]string{"-9"}, ""},
		{[]string{"--block-size=100"}, ""},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			root := initrdtest.Tree(t)
			cmd := exec.Command(xz, append(tt.args, "--stdout")...)
			cmd.Stdin = bytes.NewReader(plain)
			packed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/modules", initrdtest.Release, "kernel/fs/nfs/nfs.ko.xz"), packed)
			_, err = Build(t.Context(), fakeOptions(t, root))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("xz %v: build = %v, want %q", tt.args, err, tt.want)
			}
		})
	}
}

// A tree that was made to do harm ends in an error or a warning, soon, and
// nothing from outside of it comes into the image.
func TestHostileTree(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	initrdtest.WriteFile(t, outside, []byte("the host's"))
	lib := "usr/lib/modules/" + initrdtest.Release
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, root string)
		want  string // In the error; empty: the build goes well.
	}{
		{"a FIFO as a module", func(t *testing.T, root string) { fifo(t, filepath.Join(root, lib, "kernel/fs/nfs/nfsv3.ko")) }, "nfsv3.ko: not a regular file"},
		{"a FIFO as modules.dep", func(t *testing.T, root string) { fifo(t, filepath.Join(root, lib, "modules.dep")) }, "modules.dep is missing"},
		{"a FIFO as modules.alias", func(t *testing.T, root string) { fifo(t, filepath.Join(root, lib, "modules.alias")) }, "modules.alias: not a regular file"},
		{"a FIFO as modules.softdep", func(t *testing.T, root string) { fifo(t, filepath.Join(root, lib, "modules.softdep")) }, "modules.softdep: not a regular file"},
		{"a FIFO as modprobe.d", func(t *testing.T, root string) { fifo(t, filepath.Join(root, "etc/modprobe.d")) }, ""},
		{"a FIFO as boot", func(t *testing.T, root string) { fifo(t, filepath.Join(root, "boot")) }, ""},
		{"a FIFO as the folder of firmware", func(t *testing.T, root string) {
			fifo(t, filepath.Join(root, "usr/lib/firmware"))
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/x.ko", Firmware: []string{"x/*"}})
		}, ""},
		{"a FIFO as lib", func(t *testing.T, root string) { fifo(t, filepath.Join(root, "usr/lib")) }, "not a directory"},
		{"a FIFO as lib/modules", func(t *testing.T, root string) { fifo(t, filepath.Join(root, "usr/lib/modules")) }, "has no lib/modules"},
		{"a FIFO as firmware", func(t *testing.T, root string) { fifo(t, filepath.Join(root, "usr/lib/firmware/rtl_nic/a.fw")) }, ""},
		{"a directory as firmware", func(t *testing.T, root string) {
			initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/firmware/rtl_nic/gone.fw/x"), nil)
		}, ""},
		{"a file as the folder of firmware", func(t *testing.T, root string) {
			initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/firmware/updates"), nil)
		}, ""},
		{"links in a circle as firmware", func(t *testing.T, root string) { relink(t, root, "usr/lib/firmware/rtl_nic/gone.fw", "gone.fw") }, ""},
		{"a link out of the tree as firmware", func(t *testing.T, root string) { relink(t, root, "usr/lib/firmware/rtl_nic/gone.fw", outside) }, ""},
		{"a link out of the tree as a module", func(t *testing.T, root string) { relink(t, root, lib+"/kernel/fs/nfs/nfsv3.ko", outside) }, "nfsv3.ko: no such file"},
		{"many steps up", func(t *testing.T, root string) {
			relink(t, root, lib+"/kernel/fs/nfs/nfsv3.ko", strings.Repeat("../", 60)+outside)
		}, "nfsv3.ko: no such file"},
		{"links in a circle as a module", func(t *testing.T, root string) { relink(t, root, lib+"/kernel/fs/nfs/nfsv3.ko", "nfsv3.ko") }, "nfsv3.ko: too many levels"},
		{"links in a circle as lib/modules", func(t *testing.T, root string) { relink(t, root, "usr/lib/modules", "modules") }, "too many levels"},
		{"modules.dep that names the host's files", func(t *testing.T, root string) {
			appendFile(t, filepath.Join(root, lib, "modules.dep"), "kernel/drivers/net/ethernet/../../../../../../../../../.."+outside+".ko:\n")
		}, ""},
		{"firmware names that lead out", func(t *testing.T, root string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/x.ko", Firmware: []string{"../../../../../../.." + outside, outside, "a//b", "", "."}})
		}, ""},
		{"firmware names with stars everywhere", func(t *testing.T, root string) {
			initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/x.ko", Firmware: []string{"../*/*", "[", "*/*/*/*/*/*/*/*/*", "[a-", "rtl_nic/*\\"}})
		}, ""},
		{"a device as a module", func(t *testing.T, root string) {
			name := filepath.Join(root, lib, "kernel/fs/nfs/nfsv3.ko")
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mknod(name, syscall.S_IFCHR|0o644, 5<<8); err != nil { // /dev/tty.
				t.Skip(err)
			}
		}, "nfsv3.ko: not a regular file"},
		{"names with line ends", func(t *testing.T, root string) {
			initrdtest.WriteFile(t, filepath.Join(root, "etc/modprobe.d/a\nload x\n.conf"), []byte("blacklist e1000\n"))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := initrdtest.Tree(t)
			tt.setup(t, root)
			opts := fakeOptions(t, root)
			opts.Compress = "none"
			start := time.Now()
			_, err := Build(t.Context(), opts)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("build = %v, want %q", err, tt.want)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("build took %v", took)
			}
			if written, _ := os.ReadFile(opts.Output); bytes.Contains(written, []byte("the host's")) {
				t.Error("the image has a file of the host")
			}
		})
	}
}

func relink(t *testing.T, root, name, target string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// A name with a star stands for the files that the tree has.
func TestFirmwareStars(t *testing.T) {
	root := initrdtest.Tree(t)
	dir := filepath.Join(root, "usr/lib/firmware")
	for name, text := range map[string]string{
		"chip/hw2.0/board.bin": "b", "chip/hw2.0/regdb.bin.zst": "r", "chip/hw2.1/board.bin": "c", "chip/hw2.0/sub/deep.bin": "no", "chip/hw2.0-x.bin.xz": "x",
		"updates/chip/hw2.0/board.bin": "newer", "updates/chip/hw2.0/more.bin": "m",
	} {
		t.Run(name, func(t *testing.T) {
			initrdtest.WriteFile(t, filepath.Join(dir, name), initrdtest.Pack(t, name, []byte(text)))
		})
	}
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/chip.ko", Firmware: []string{"chip/hw2.0/*", "chip/hw*-x.bin", "chip/hw9/*"}})
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/none.ko", Firmware: []string{"none/*.bin"}})
	opts := fakeOptions(t, root)
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	unpacked := unpack(t, opts.Output)
	for name, want := range map[string]string{
		"updates/chip/hw2.0/board.bin": "newer", "updates/chip/hw2.0/more.bin": "m", "chip/hw2.0/regdb.bin": "r", "chip/hw2.0-x.bin": "x",
		"chip/hw2.0/board.bin": "", "chip/hw2.1/board.bin": "", "chip/hw2.0/sub/deep.bin": "",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := os.ReadFile(filepath.Join(unpacked, "lib/firmware", name))
			if string(got) != want || (err == nil) != (want != "") {
				t.Errorf("%s = %q, %v, want %q", name, got, err, want)
			}
		})
	}
	if diff := cmp.Diff(map[string][]string{"chip": {"chip/hw9/*"}, "none": {"none/*.bin"}, "r8169": {"rtl_nic/gone.fw"}}, rep.Firmware.MissingFor); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"none"}, rep.Firmware.DriversWithout); diff != "" {
		t.Errorf("without (-want +got):\n%s", diff)
	}
}

// A tree that is damaged in any place and manner gives an
// image that can be read, or an error that names a file or says what is lacking;
// the old image stays where there is none.
func TestDamagedTrees(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 8))
		root := initrdtest.Tree(t)
		var files []string
		err := filepath.WalkDir(root, func(name string, _ os.DirEntry, err error) error {
			if name != root {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var done []string
		for range 1 + rng.IntN(3) {
			name := files[rng.IntN(len(files))]
			done = append(done, damage(t, rng, name)+" "+strings.TrimPrefix(name, root))
		}
		opts := fakeOptions(t, root)
		opts.Profiles = []string{"generic", "disk"}
		opts.Kernel = []string{"", "all", initrdtest.Release}[rng.IntN(3)]
		initrdtest.WriteFile(t, opts.Output, []byte("the old one"))
		start := time.Now()
		_, err = Build(t.Context(), opts)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("seed %d, %v: build took %v", seed, done, took)
		}
		if err != nil {
			if got, _ := os.ReadFile(opts.Output); string(got) != "the old one" {
				t.Errorf("seed %d, %v: %v, and the old image is %d bytes", seed, done, err, len(got))
			}
			if !strings.Contains(err.Error(), root) && !strings.Contains(err.Error(), "kernel ") {
				t.Errorf("seed %d, %v: error %q names nothing", seed, done, err)
			}
			continue
		}
		dir := unpack(t, opts.Output)
		releases, err := os.ReadDir(filepath.Join(dir, "lib/modules"))
		if err != nil || len(releases) == 0 {
			t.Errorf("seed %d, %v: no kernel in the image: %v", seed, done, err)
		}
		for _, r := range releases {
			m := readManifest(t, dir, r.Name())
			checkOrder(t, m)
			for _, mod := range m.Modules {
				if _, err := os.Stat(filepath.Join(dir, image.ModulePath(r.Name(), mod.Name))); err != nil {
					t.Errorf("seed %d, %v: %v", seed, done, err)
				}
			}
		}
	}
}

// damage does something to a file or a directory, and tells what.
func damage(t *testing.T, rng *rand.Rand, name string) string {
	t.Helper()
	fi, err := os.Lstat(name)
	if err != nil {
		return "nothing to" // It went with its directory.
	}
	change := func(what string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return what
	}
	if fi.Mode().IsRegular() {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		switch n := rng.IntN(5); {
		case n == 0:
			return change("emptied", os.Truncate(name, 0))
		case n == 1 && len(data) > 0:
			return change("cut", os.Truncate(name, rng.Int64N(int64(len(data)))))
		case n == 2 && len(data) > 0:
			for range 1 + rng.IntN(8) {
				data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
			}
			return change("flipped bits of", os.WriteFile(name, data, 0o644))
		case n == 3:
			return change("doubled", os.WriteFile(name, append(data, data...), 0o644))
		}
	}
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
	switch rng.IntN(6) {
	case 0:
		return change("made a directory of", os.Mkdir(name, 0o755))
	case 1:
		return change("made a FIFO of", syscall.Mkfifo(name, 0o644))
	case 2:
		return change("made a link to itself of", os.Symlink(filepath.Base(name), name))
	case 3:
		return change("made a link to / of", os.Symlink("/", name))
	case 4:
		return change("made a text of", os.WriteFile(name, []byte("\x00a: b\nalias * x\nsoftdep e1000 pre: e1000 post: nfs\n"), 0o644))
	}
	return "removed"
}

// Whatever a module's file holds: no panic, and no more memory than it has bytes.
func FuzzELF(f *testing.F) {
	f.Add(initrdtest.ModuleFile("x.ko", []string{"a.fw"}, "alloc_etherdev_mqs"))
	f.Add(hostileELF([]hostileSection{{name: ".modinfo", kind: elf.SHT_PROGBITS, data: []byte("firmware=x\x00")}}))
	f.Add(hostileELF(nil, func(s *hostileSection) { s.flags, s.data = elf.SHF_COMPRESSED, compressedSection(1<<20) }))
	f.Add(xzHeader(0x21, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = checkXz(data)
		file, err := openModule(data)
		if err != nil {
			return
		}
		if _, err := firmwareNames(file); err != nil {
			return
		}
		_, _ = imports(file)
	})
}
