package initrd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// intelMicrocode is an update as Intel's are, of 1024 bytes.
func intelMicrocode(revision uint32) []byte {
	const size = 1024
	data := make([]byte, size)
	for i, word := range []uint32{1, revision, 0x11112025, 0x906ea, 0, 1, 0x22, size - 48, size} {
		binary.LittleEndian.PutUint32(data[4*i:], word)
	}
	sum := uint32(0)
	for at := 0; at < size; at += 4 {
		sum += binary.LittleEndian.Uint32(data[at:])
	}
	binary.LittleEndian.PutUint32(data[16:], -sum)
	return data
}

// amdMicrocode is a container with a table of one processor and one update.
func amdMicrocode(family byte) []byte {
	var b bytes.Buffer
	for _, word := range []uint32{0x00414d44, 0, 16, 0x00800f00 | uint32(family), 0, 0, 0, 1, 8, 0xaaaaaaaa, 0xbbbbbbbb} {
		binary.Write(&b, binary.LittleEndian, word)
	}
	return b.Bytes()
}

// microcodeTree is a tree with microcode.
func microcodeTree(t *testing.T) string {
	t.Helper()
	root := hostTree(t)
	for name, data := range map[string][]byte{
		"intel-ucode/06-9e-0a":                 intelMicrocode(0xfa),
		"intel-ucode/06-9e-0b.initramfs":       append(intelMicrocode(0xfa), intelMicrocode(0xfb)...), // The first one is that of 06-9e-0a.
		"intel-ucode/06-8f-04.xz":              initrdtest.Pack(t, ".xz", intelMicrocode(0x2b)),
		"intel-ucode/README":                   []byte("no microcode"),
		"amd-ucode/microcode_amd.bin":          amdMicrocode(1),
		"amd-ucode/microcode_amd_fam17h.bin":   amdMicrocode(2),
		"amd-ucode/microcode_amd.bin.asc":      []byte("a signature"),
		"amd-ucode/microcode_amd_fam19h.bin":   amdMicrocode(3),
		"amd-ucode/README":                     []byte("no microcode"),
		"rtl_nic/gone.fw":                      []byte("here"),
		"amd/amd_sev_fam17h_model0xh.sbin":     []byte("no microcode"),
		"intel-ucode-with-caveats/06-4f-01":    intelMicrocode(0xb0),
		"intel-ucode/06-8f-05.initramfs.extra": []byte("no microcode"),
	} {
		initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/firmware", name), data)
	}
	return root
}

// lookEarly finds a file at the beginning of an image as the kernel does before it
// unpacks it (find_cpio_data in lib/earlycpio.c): headers at multiples of four, zeros
// between them, by the whole name, until something else comes. It gives where the content begins.
func lookEarly(img []byte, name string) (data []byte, at int) {
	const header = 110
	align := func(n int) int { return (n + 3) / 4 * 4 }
	for p := 0; p+header <= len(img); {
		if img[p] == 0 {
			p += 4
			continue
		}
		var field [13]int
		if string(img[p:p+6]) != "070701" {
			return nil, 0
		}
		for i := range field {
			if _, err := fmt.Sscanf(string(img[p+6+8*i:p+14+8*i]), "%08x", &field[i]); err != nil {
				return nil, 0
			}
		}
		size, nameSize := field[6], field[11]
		content := align(p + header + nameSize)
		if field[1]&0o170000 == 0o100000 && nameSize > len(name) && string(img[p+header:p+header+len(name)+1]) == name+"\x00" {
			return img[content : content+size], content
		}
		p = align(content + size)
	}
	return nil, 0
}

// The microcode is where and as the kernel looks for it, and readers of images find
// the rest behind it.
func TestMicrocode(t *testing.T) {
	root := microcodeTree(t)
	opts := fakeOptions(t, root)
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(opts.Output)
	if err != nil {
		t.Fatal(err)
	}
	intel := bytes.Join([][]byte{intelMicrocode(0x2b), intelMicrocode(0xfa), intelMicrocode(0xfb)}, nil)
	amd := bytes.Join([][]byte{amdMicrocode(1), amdMicrocode(2), amdMicrocode(3)}, nil)
	for name, want := range map[string][]byte{"GenuineIntel.bin": intel, "AuthenticAMD.bin": amd} {
		data, at := lookEarly(raw, "kernel/x86/microcode/"+name)
		if !bytes.Equal(data, want) {
			t.Errorf("%s: %d bytes, want %d", name, len(data), len(want))
		}
		if at%16 != 0 {
			t.Errorf("%s begins at %d, which is no multiple of 16", name, at)
		}
	}
	want := []MicrocodeReport{{"intel", 3, int64(len(intel))}, {"amd", 3, int64(len(amd))}}
	if diff := cmp.Diff(want, rep.Microcode); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	listing, err := List(bytes.NewReader(raw))
	if err != nil || len(listing.Archives) != 3 || !listing.Archives[0].Early || listing.Archives[0].Compression != "none" || listing.Archives[1].Compression != "zstd" {
		t.Fatalf("archives %+v, %v", listing.Archives, err)
	}
	var got []string
	for _, f := range listing.Files {
		if f.Archive == 0 {
			got = append(got, f.Path)
		}
	}
	if diff := cmp.Diff([]string{"kernel/x86/microcode/GenuineIntel.bin", "kernel/x86/microcode/AuthenticAMD.bin"}, got); diff != "" {
		t.Errorf("first archive (-want +got):\n%s", diff)
	}
	if rep.Packed != int64(len(raw)) || len(rep.Files) != len(listing.Files) {
		t.Errorf("the report has %d bytes, %d files, the image %d and %d", rep.Packed, len(rep.Files), len(raw), len(listing.Files))
	}
	// Without it, the rest is the same.
	opts.Microcode = "none"
	if _, err := Build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	rest, err := os.ReadFile(opts.Output)
	if err != nil || !bytes.HasSuffix(raw, rest) {
		t.Errorf("%v: what follows the microcode is not the image without it", err)
	}
	verdict, err := Check(bytes.NewReader(raw), CheckOptions{Devices: []string{deviceR8169}})
	if err != nil || verdict.Generator != Sidusboot {
		t.Errorf("check: %+v, %v", verdict, err)
	}
}

// Which microcode goes in.
func TestMicrocodeChoice(t *testing.T) {
	root := microcodeTree(t)
	const coffeelake, zen, old = "cpu:type:x86,ven0000fam0006mod009E:feature:,0000,0001", "cpu:type:x86,ven0002fam0017mod0031:feature:,0000", "cpu:type:x86,ven0002fam0010mod0004:feature:,0000"
	node := writeHost(t, deviceR8169, coffeelake)
	for _, tt := range []struct {
		name, choice string
		profiles     []string
		want         string
	}{
		{name: "what there is", profiles: []string{"generic"}, want: "intel 3, amd 3"},
		{name: "virtual machines need none", profiles: []string{"virtual"}, want: ""},
		{name: "asked for", choice: "all", profiles: []string{"virtual"}, want: "intel 3, amd 3"},
		{name: "of a vendor", choice: "amd", profiles: []string{"virtual"}, want: "amd 3"},
		{name: "none", choice: "none", profiles: []string{"generic"}, want: ""},
		{name: "of a node", profiles: []string{"host=" + node}, want: "intel 2"},
		{name: "of two nodes", profiles: []string{"host=" + node, "host=" + writeHost(t, deviceR8169, zen)}, want: "intel 2, amd 1"},
		{name: "of an old processor", profiles: []string{"host=" + writeHost(t, deviceR8169, old)}, want: "amd 1"},
		{name: "of a node that does not say", profiles: []string{"host=" + node, "host=" + writeHost(t, deviceR8169)}, want: "intel 3, amd 3"},
		{name: "of a node and others", profiles: []string{"generic", "host=" + node}, want: "intel 3, amd 3"},
		{name: "all in spite of a node", choice: "all", profiles: []string{"host=" + node}, want: "intel 3, amd 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := fakeOptions(t, root)
			opts.Profiles, opts.Microcode = tt.profiles, tt.choice
			rep, err := Build(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range rep.Microcode {
				got = append(got, fmt.Sprintf("%s %d", m.Vendor, m.Files))
			}
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("microcode %q, want %q", got, tt.want)
			}
		})
	}
	opts := fakeOptions(t, hostTree(t))
	opts.Microcode = "amd"
	_, err := Build(t.Context(), opts)
	wantOption(t, err, "Microcode", false, "/lib/firmware has none: install amd64-microcode in the tree")
	opts.Microcode = "via"
	_, err = Build(t.Context(), opts)
	wantOption(t, err, "Microcode", true, `unknown choice "via": choose one of auto, all, intel, amd, none`)
}

// A damaged file would hide those behind it from the kernel. It is left out, and told.
func TestMicrocodeDamaged(t *testing.T) {
	edit := func(data []byte, at int, word uint32) []byte {
		binary.LittleEndian.PutUint32(data[at:], word)
		return data
	}
	for name, file := range map[string]struct {
		name string
		data []byte
	}{
		"empty":           {"intel-ucode/06-9e-0a", nil},
		"cut short":       {"intel-ucode/06-9e-0a", intelMicrocode(1)[:1000]},
		"less than that":  {"intel-ucode/06-9e-0a", append(intelMicrocode(1), 1, 2, 3)},
		"changed":         {"intel-ucode/06-9e-0a", edit(intelMicrocode(1), 500, 1)},
		"too large":       {"intel-ucode/06-9e-0a", edit(intelMicrocode(1), 32, 1<<31)},
		"no size":         {"intel-ucode/06-9e-0a", edit(intelMicrocode(1), 32, 0)},
		"another version": {"intel-ucode/06-9e-0a", edit(intelMicrocode(1), 0, 2)},
		"not AMD's":       {"amd-ucode/microcode_amd_fam17h.bin", []byte("<html>not found</html>")},
		"AMD's cut short": {"amd-ucode/microcode_amd_fam17h.bin", amdMicrocode(2)[:40]},
		"AMD's too large": {"amd-ucode/microcode_amd_fam17h.bin", edit(amdMicrocode(2), 8, 1<<31)},
		"AMD's empty":     {"amd-ucode/microcode_amd_fam17h.bin", nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := microcodeTree(t)
			initrdtest.WriteFile(t, filepath.Join(root, "usr/lib/firmware", file.name), file.data)
			opts := fakeOptions(t, root)
			rep, err := Build(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := rep.Microcode[0].Files + rep.Microcode[1].Files; got != 5 {
				t.Errorf("%d files, want 5", got)
			}
			if got := strings.Join(rep.Warnings, "\n"); !strings.Contains(got, file.name+": not microcode, or damaged: install ") {
				t.Errorf("warnings %q", got)
			}
		})
	}
}
