package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// A member is a file of an archive that a test writes.
type member struct {
	name    string
	mode    uint32
	data    string
	links   uint32
	ino     uint32
	device  [2]uint32
	declare uint32 // The size that the header has, where it is not the data's.
}

func file(name, data string) member { return member{name: name, mode: 0o100644, data: data} }

// newc writes an archive, with its trailer.
func newc(members ...member) []byte {
	var b bytes.Buffer
	for i, m := range append(members, member{name: trailer}) {
		size := uint32(len(m.data))
		if m.declare != 0 {
			size = m.declare
		}
		if m.ino == 0 {
			m.ino = uint32(i + 1)
		}
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", m.ino, m.mode, 0, 0, max(m.links, 1), 0,
			size, 0, 0, m.device[0], m.device[1], len(m.name)+1, 0, m.name)
		b.Write(make([]byte, padding(headerSize+int64(len(m.name))+1)))
		b.WriteString(m.data)
		b.Write(make([]byte, padding(int64(len(m.data)))))
	}
	return b.Bytes()
}

// packAs compresses as the kernel would unpack it.
func packAs(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch name {
	case "none":
		return data
	case "gzip":
		return initrdtest.Pack(t, ".gz", data)
	case "zstd":
		return initrdtest.Pack(t, ".zst", data)
	case "xz":
		w, err = writeXz(&b)
	case "lzma":
		w, err = lzma.NewWriter(&b)
	case "lz4":
		l := lz4.NewWriter(&b)
		err = l.Apply(lz4.LegacyOption(true))
		w = l
	case "bzip2":
		path, err := exec.LookPath("bzip2")
		if err != nil {
			t.Skip("bzip2 is not installed")
		}
		cmd := exec.Command(path, "-c")
		cmd.Stdin, cmd.Stdout = bytes.NewReader(data), &b
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
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

var compressions = []string{"none", "gzip", "zstd", "xz", "lz4", "bzip2", "lzma"}

// early is how initramfs-tools and dracut put microcode before the rest.
func early() []byte {
	b := newc(member{name: "kernel", mode: 0o040755}, member{name: "kernel/x86", mode: 0o040755},
		member{name: "kernel/x86/microcode", mode: 0o040755}, file("kernel/x86/microcode/GenuineIntel.bin", "microcode"))
	return append(b, make([]byte, 512-len(b)%512)...)
}

// Archives one behind the other, each in its own way, as the kernel takes them.
func TestReadArchives(t *testing.T) {
	big := strings.Repeat("The quick brown fox. ", 10000)
	rest := newc(member{name: ".", mode: 0o040755}, file("./init", "#!/bin/sh\n"), member{name: "bin", mode: 0o120777, data: "usr/bin"},
		member{name: "dev/console", mode: 0o020600, device: [2]uint32{5, 1}}, file("usr/big", big))
	last := newc(file("etc/conf", "the last one"))
	for _, first := range compressions {
		for _, second := range compressions {
			t.Run(first+" "+second, func(t *testing.T) {
				if (first == "lz4") && second != "none" {
					t.Skip("lz4 has no end of its own: the kernel wants zeros behind it")
				}
				img := early()
				img = append(img, packAs(t, first, rest)...)
				if first == "lz4" {
					img = append(img, make([]byte, 8)...)
				}
				img = append(img, packAs(t, second, last)...)
				r := NewReader(bytes.NewReader(img))
				got := make(map[string]string)
				for {
					f, err := r.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					data, err := io.ReadAll(r)
					if err != nil {
						t.Fatal(err)
					}
					got[f.Path] = fmt.Sprintf("%v %s%s%s", f.Mode, f.Link, f.Device, data)
				}
				want := map[string]string{
					"kernel": "drwxr-xr-x ", "kernel/x86": "drwxr-xr-x ", "kernel/x86/microcode": "drwxr-xr-x ",
					"kernel/x86/microcode/GenuineIntel.bin": "-rw-r--r-- microcode",
					".":                                     "drwxr-xr-x ", "init": "-rw-r--r-- #!/bin/sh\n", "bin": "lrwxrwxrwx usr/bin",
					"dev/console": "crw------- 5:1", "usr/big": "-rw-r--r-- " + big, "etc/conf": "-rw-r--r-- the last one",
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("files (-want +got):\n%s", diff)
				}
				if first == "bzip2" && second == "bzip2" {
					return // The library takes the two for one.
				}
				a := r.Archives()
				if len(a) != 3 || !a[0].Early || a[1].Early || a[0].Compression != "none" || a[1].Compression != first || a[2].Compression != second ||
					a[1].Offset != int64(len(early())) || a[1].Files != 5 {
					t.Errorf("archives = %+v", a)
				}
			})
		}
	}
}

// What the usual programs write, in the ways in which generators call them.
func TestReadForeignTools(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio is not installed")
	}
	dir := t.TempDir()
	initrdtest.WriteFile(t, filepath.Join(dir, "a/first"), bytes.Repeat([]byte("content "), 400000))
	if err := os.Link(filepath.Join(dir, "a/first"), filepath.Join(dir, "a/second")); err != nil {
		t.Fatal(err)
	}
	make := exec.Command("/bin/sh", "-c", `find . | LC_ALL=C sort | "$0" --quiet -o -H newc`, cpio)
	make.Dir = dir
	plain, err := make.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"cat"}, {"gzip", "-n", "-9"}, {"pigz", "-9"}, {"zstd", "-q", "-19", "-T0"}, {"zstd", "-q", "-1", "--ultra", "--long=27"},
		{"xz", "-8", "--check=crc32"}, {"xz", "--check=crc32", "--block-size=1MiB", "-T2"}, {"xz", "--check=none"}, {"xz", "--check=sha256"},
		{"lz4", "-l", "-9"}, {"bzip2", "-9"}, {"lzma", "-9"},
	} {
		t.Run(strings.Join(argv, " "), func(t *testing.T) {
			program, err := exec.LookPath(argv[0])
			if err != nil {
				t.Skip(err)
			}
			cmd := exec.Command(program, append(argv[1:], "-c")...)
			if argv[0] == "cat" {
				cmd = exec.Command(program)
			}
			cmd.Stdin = bytes.NewReader(plain)
			img, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			l, err := List(bytes.NewReader(append(early(), img...)))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a/first", "a/second"} {
				var b bytes.Buffer
				if err := Cat(&b, bytes.NewReader(img), name); err != nil || b.Len() != 3200000 {
					t.Errorf("Cat(%s) = %d bytes, %v", name, b.Len(), err)
				}
			}
			if got := l.Files[len(l.Files)-1]; got.Path != "a/second" || got.HardLink != "a/first" {
				t.Errorf("the last file is %+v, want the second name of a/first", got)
			}
		})
	}
}

// Damaged images are errors that say where and what to do, whatever they were packed by.
func TestReadDamaged(t *testing.T) {
	img := newc(file("etc/one", strings.Repeat("1", 5000)), file("etc/two", strings.Repeat("2", 5000)))
	for _, name := range compressions {
		t.Run(name, func(t *testing.T) {
			packed := packAs(t, name, img)
			for n := range len(packed) {
				if n > 130 && n%197 != 0 && n < len(packed)-20 {
					continue
				}
				l, err := List(bytes.NewReader(packed[:n]))
				if err == nil {
					t.Fatalf("cut to %d of %d bytes: %d files and no error", n, len(packed), len(l.Files))
				}
				if damage := (*ArchiveError)(nil); !errors.As(err, &damage) {
					t.Fatalf("cut to %d bytes: %T, want an *ArchiveError", n, err)
				}
			}
		})
	}
	for want, img := range map[string][]byte{
		"the image is empty":                                          make([]byte, 4096),
		"neither a cpio archive":                                      []byte("\x7fELF and so on, an init without an image"),
		"etc/one: 5 of 4294967295 bytes are there: ends":              newc(member{name: "etc/one", mode: 0o100644, data: "12345", declare: 0xffffffff})[:125],
		"in another format than newc":                                 []byte("070707" + strings.Repeat("0", 200)),
		"no cpio header of the format newc":                           []byte("070701" + strings.Repeat("x", 200)),
		"a file name of 99999 bytes":                                  []byte("070701" + strings.Repeat("0", 88) + "0001869f" + strings.Repeat("0", 200)),
		"compressed as lzop, which is not supported":                  []byte("\x89LZO\x00\r\n\x1a\n"),
		"compress it with lz4 -l":                                     []byte("\x04\x22\x4d\x18rest"),
		"a link whose target has 0 bytes":                             newc(member{name: "x", mode: 0o120777}),
		"(gzip): after the archive comes data that is not an archive": packAs(t, "gzip", append(newc(file("a", "b")), "junk"...)),
		"archive at byte 240: neither a cpio archive":                 append(newc(file("a", "b")), "junk"...),
	} {
		_, err := List(bytes.NewReader(img))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("List = %v, want %q", err, want)
		}
	}
}

// A small image that unpacks to a large one ends at the limit, in little memory.
func TestReadBombs(t *testing.T) {
	for _, name := range []string{"gzip", "zstd", "xz", "lz4"} {
		t.Run(name, func(t *testing.T) {
			bomb := packAs(t, name, newc(file("bomb", strings.Repeat("\x00", 64<<20))))
			r := NewReader(bytes.NewReader(bomb))
			r.Limit = 1 << 20
			_, err := r.Next()
			if err == nil {
				_, err = r.Next()
			}
			if err == nil || !strings.Contains(err.Error(), "more than 1 MB") {
				t.Errorf("%d bytes: %v, want an error about the limit", len(bomb), err)
			}
		})
	}
	// Zeros between archives count too.
	r := NewReader(bytes.NewReader(packAs(t, "zstd", append(newc(file("a", "")), make([]byte, 64<<20)...))))
	r.Limit = 1 << 20
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "more than 1 MB") {
		t.Errorf("zeros: %v, want an error about the limit", err)
	}
}

func TestModeString(t *testing.T) {
	for mode, want := range map[Mode]string{
		0o100644: "-rw-r--r--", 0o104755: "-rwsr-xr-x", 0o102644: "-rw-r-Sr--", 0o041777: "drwxrwxrwt", 0o041776: "drwxrwxrwT",
		0o060660: "brw-rw----", 0o120777: "lrwxrwxrwx", 0o010600: "prw-------", 0o140600: "srw-------", 0: "?---------",
	} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			if got := mode.String(); got != want {
				t.Errorf("%o is %s, want %s", uint32(mode), got, want)
			}
		})
	}
}

// Whatever is in an image: an end, no panic, no more than the limit.
func FuzzRead(f *testing.F) {
	img := newc(file("a", "content"), member{name: "b", mode: 0o120777, data: "a"}, member{name: "c", mode: 0o100644, links: 2, ino: 9},
		member{name: "d", mode: 0o100644, links: 2, ino: 9, data: "x"})
	f.Add(img)
	f.Add(append(early(), img...))
	for _, pack := range []func(io.Writer) (io.WriteCloser, error){writeGzip, writeZstd, writeXz} {
		var b bytes.Buffer
		w, err := pack(&b)
		if err != nil {
			f.Fatal(err)
		}
		_, _ = w.Write(img)
		_ = w.Close()
		f.Add(b.Bytes())
	}
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	_ = w.Apply(lz4.LegacyOption(true))
	_, _ = w.Write(img)
	_ = w.Close()
	f.Add(b.Bytes())
	f.Add([]byte("BZh91AY&SY"))
	f.Add([]byte("\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, img []byte) {
		r := NewReader(bytes.NewReader(img))
		r.Limit = 1 << 22
		total := int64(0)
		for {
			_, err := r.Next()
			if err != nil {
				if _, again := r.Next(); again == nil || again.Error() != err.Error() {
					t.Fatalf("Next = %v behind %v", again, err)
				}
				break
			}
			n, _ := io.Copy(io.Discard, r)
			if total += n; total > r.Limit {
				t.Fatalf("%d bytes, over the limit", total)
			}
		}
		_, _ = inspect(bytes.NewReader(img))
	})
}
