package initrd

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// snapshot is what is in a directory: type, permissions, content.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			text += " " + string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			text += " " + target
		}
		got[name[len(dir)+1:]] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestExtract(t *testing.T) {
	img := append(early(), packAs(t, "zstd", newc(
		member{name: ".", mode: 0o040700}, member{name: "etc", mode: 0o040555}, file("./etc/conf", "old"), member{name: "lib", mode: 0o120777, data: "usr/lib"},
		member{name: "usr", mode: 0o040755}, member{name: "usr/lib", mode: 0o040755}, file("lib/through-link", "here"),
		member{name: "etc/passwd", mode: 0o120777, data: "/etc/passwd"}, member{name: "suid", mode: 0o104711, data: "#!"},
		member{name: "dev/null", mode: 0o020666, device: [2]uint32{1, 3}}, member{name: "fifo", mode: 0o010644},
		member{name: "one", mode: 0o100444, links: 3, ino: 77}, member{name: "two", mode: 0o100444, links: 3, ino: 77},
		member{name: "three", mode: 0o100444, links: 3, ino: 77, data: "shared"},
	))...)
	img = append(img, newc(file("etc/conf", "new"), member{name: "suid", mode: 0o040750}, file("deep/er/file", "x"))...)
	dir := filepath.Join(t.TempDir(), "new")
	// Its mode keeps a user from removing what is in it.
	etc := filepath.Join(dir, "etc")
	t.Cleanup(func() { _ = os.Chmod(etc, 0o755) })
	x, err := Extract(t.Context(), bytes.NewReader(img), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"kernel": "drwxr-xr-x", "kernel/x86": "drwxr-xr-x", "kernel/x86/microcode": "drwxr-xr-x", "kernel/x86/microcode/GenuineIntel.bin": "-rw-r--r-- microcode",
		"etc": "dr-xr-xr-x", "etc/conf": "-rw-r--r-- new", "lib": "Lrwxrwxrwx usr/lib", "usr": "drwxr-xr-x", "usr/lib": "drwxr-xr-x",
		"usr/lib/through-link": "-rw-r--r-- here", "etc/passwd": "Lrwxrwxrwx /etc/passwd", "suid": "drwxr-x---", "dev": "drwxr-xr-x",
		"one": "-r--r--r-- shared", "two": "-r--r--r-- shared", "three": "-r--r--r-- shared",
		"deep": "drwxr-xr-x", "deep/er": "drwxr-xr-x", "deep/er/file": "-rw-r--r-- x",
	}
	if diff := cmp.Diff(want, snapshot(t, dir)); diff != "" {
		t.Errorf("extracted (-want +got):\n%s", diff)
	}
	if !slices.Equal(x.Skipped, []string{"dev/null", "fifo"}) {
		t.Errorf("skipped %q, want the device and the FIFO", x.Skipped)
	}

	// Some of it.
	dir = t.TempDir()
	if _, err := Extract(t.Context(), bytes.NewReader(img), dir, "/deep/", "etc/conf"); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"etc": "drwxr-xr-x", "etc/conf": "-rw-r--r-- new", "deep": "drwxr-xr-x", "deep/er": "drwxr-xr-x", "deep/er/file": "-rw-r--r-- x"}
	if diff := cmp.Diff(want, snapshot(t, dir)); diff != "" {
		t.Errorf("two paths (-want +got):\n%s", diff)
	}
	if _, err := Extract(t.Context(), bytes.NewReader(img), t.TempDir(), "nowhere"); !errors.As(err, new(*NotFoundError)) {
		t.Errorf("a path that is not there: %v", err)
	}
	if _, err := Extract(t.Context(), bytes.NewReader(img), dir); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("into a directory that is not empty: %v", err)
	}
	if _, err := Extract(t.Context(), bytes.NewReader(img), t.TempDir(), "two"); err == nil || !strings.Contains(err.Error(), "extract that file as well") {
		t.Errorf("a second name without the content: %v", err)
	}
}

// Nothing leads out of the directory, and nothing is written outside it.
func TestExtractHostile(t *testing.T) {
	link := func(name, target string) member { return member{name: name, mode: 0o120777, data: target} }
	for name, tt := range map[string]struct {
		members []member
		want    string
	}{
		"parent":                    {[]member{file("../outside/x", "bad")}, `"../outside/x" would be written outside`},
		"parent in the middle":      {[]member{file("a/../../outside/x", "bad")}, "would be written outside"},
		"parent at the end":         {[]member{{name: "a/..", mode: 0o040777}}, "would be written outside"},
		"absolute":                  {[]member{file("OUTSIDE/x", "bad")}, "would be written outside"},
		"link to a directory":       {[]member{link("a", "OUTSIDE"), file("a/x", "bad")}, `"a/x" would be written outside`},
		"relative link":             {[]member{link("a", "../outside"), file("a/x", "bad")}, "would be written outside"},
		"link to a link":            {[]member{link("a", "b"), link("b", "../outside"), {name: "a/y", mode: 0o040755}}, "would be written outside"},
		"link in place of the file": {[]member{link("x", "OUTSIDE/precious"), file("x", "bad")}, ""},
		"link in place of a folder": {[]member{link("d", "OUTSIDE"), {name: "d", mode: 0o040700}, file("d/x", "fine")}, ""},
		"hard link behind a link":   {[]member{{name: "a", mode: 0o100644, links: 2, ino: 5}, link("a", "OUTSIDE/precious"), {name: "b", mode: 0o100644, links: 2, ino: 5, data: "bad"}}, "would be written outside"},
		"hard link to what is gone": {[]member{{name: "a", mode: 0o100644, links: 2, ino: 5}, {name: "a", mode: 0o020666}, {name: "b", mode: 0o100644, links: 2, ino: 5, data: "bad"}}, "no such file"},
		"mode behind a link":        {[]member{{name: "d", mode: 0o040777}, link("d", "OUTSIDE")}, ""},
		"file in place of a folder": {[]member{file("d/x", "fine"), file("d", "bad")}, "directory not empty"},
		"folder in place of a file": {[]member{file("d", "fine"), file("d/x", "bad")}, "file exists"},
		"the directory itself":      {[]member{file(".", "bad")}, "."},
		"device":                    {[]member{{name: "sda", mode: 0o060666, device: [2]uint32{8, 0}}}, ""},
		"4 GiB that are not there":  {[]member{{name: "x", mode: 0o100644, data: "12345", declare: 0xffffffff}}, "of 4294967295 bytes are there"},
		"longer than a name":        {[]member{file(strings.Repeat("n", 300), "")}, "name too long"},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			outside := filepath.Join(top, "outside")
			initrdtest.WriteFile(t, filepath.Join(outside, "precious"), []byte("precious"))
			before := snapshot(t, outside)
			for i, m := range tt.members {
				tt.members[i].name = strings.ReplaceAll(m.name, "OUTSIDE", outside)
				tt.members[i].data = strings.ReplaceAll(m.data, "OUTSIDE", outside)
			}
			_, err := Extract(t.Context(), bytes.NewReader(newc(tt.members...)), filepath.Join(top, "in"))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Extract = %v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(before, snapshot(t, outside)); diff != "" {
				t.Fatalf("outside (-before +after):\n%s", diff)
			}
			entries, err := os.ReadDir(top)
			if err != nil || len(entries) > 2 {
				t.Errorf("beside the directory: %v, %v", entries, err)
			}
		})
	}
}

// Whatever is in an image, nothing is changed outside.
func FuzzExtract(f *testing.F) {
	f.Add("a", "../outside", "a/x", "bad")
	f.Add("a/../..", "x", "/etc/x", "bad")
	f.Add("d", "/", "d/tmp/x", "bad")
	f.Add("", ".", "././/x/", "")
	f.Fuzz(func(t *testing.T, first, target, second, data string) {
		top := t.TempDir()
		outside := filepath.Join(top, "outside")
		initrdtest.WriteFile(t, filepath.Join(outside, "precious"), []byte("precious"))
		before := snapshot(t, outside)
		img := newc(member{name: first, mode: 0o120777, data: target}, file(second, data), member{name: first, mode: 0o040711}, file(second, data))
		_, _ = Extract(t.Context(), bytes.NewReader(img), filepath.Join(top, "in"))
		if diff := cmp.Diff(before, snapshot(t, outside)); diff != "" {
			t.Fatalf("outside (-before +after):\n%s", diff)
		}
		if entries, err := os.ReadDir(top); err != nil || len(entries) > 2 {
			t.Fatalf("beside the directory: %v, %v", entries, err)
		}
	})
}
