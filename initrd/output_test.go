package initrd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// owner tells who has a file and with which mode.
func owner(t *testing.T, name string) string {
	t.Helper()
	fi, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d %04o", st.Uid, st.Gid, fi.Mode().Perm())
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
}

// A rebuild leaves the image with the boot server's user.
func TestKeepOwner(t *testing.T) {
	needRoot(t)
	secrets := filepath.Join(t.TempDir(), "secrets")
	initrdtest.WriteFile(t, secrets, []byte("default user password12345\n"))
	if err := os.Chmod(secrets, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		uid, gid int
		mode     os.FileMode
		secrets  bool
		want     string
		warning  string
	}{
		{112, 65534, 0o644, false, "112:65534 0644", ""},
		{112, 65534, 0o400, false, "112:65534 0400", ""},
		{0, 112, 0o640, false, "0:112 0640", ""},
		{0, 0, 0o600, false, "0:0 0600", "keeps the mode 0600 of the old file"},
		{112, 65534, 0o600, true, "112:65534 0600", ""},
		{0, 112, 0o640, true, "0:112 0640", ""},
		// Who could read it without secrets was not chosen for them.
		{112, 65534, 0o644, true, "112:65534 0600", ""},
	} {
		t.Run(fmt.Sprintf("%d:%d %04o secrets %t", tt.uid, tt.gid, tt.mode, tt.secrets), func(t *testing.T) {
			opts := fakeOptions(t, initrdtest.Tree(t))
			for _, file := range []string{opts.Output, opts.Report} {
				initrdtest.WriteFile(t, file, []byte("old"))
				if err := os.Chown(file, tt.uid, tt.gid); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(file, tt.mode); err != nil {
					t.Fatal(err)
				}
			}
			if tt.secrets {
				opts.Secrets = secrets
			}
			rep, err := Build(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := owner(t, opts.Output); got != tt.want {
				t.Errorf("%d:%d %o with secrets %v is %s now, want %s", tt.uid, tt.gid, tt.mode, tt.secrets, got, tt.want)
			}
			if got, want := owner(t, opts.Report), fmt.Sprintf("%d:%d %04o", tt.uid, tt.gid, tt.mode); got != want {
				t.Errorf("report of %s is %s", want, got)
			}
			all := strings.Join(rep.Warnings, "\n")
			if strings.Contains(all, "keeps the mode") != (tt.warning != "") || !strings.Contains(all, tt.warning) {
				t.Errorf("warnings = %q, want %q", rep.Warnings, tt.warning)
			}
			checkClean(t, filepath.Dir(opts.Output), "initrd.img", "report.json")
		})
	}
}

// An access list is kept as the owner is.
func TestKeepAccessList(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	initrdtest.WriteFile(t, opts.Output, []byte("old"))
	// user::rw- user:112:r-- group::r-- mask::r-- other::---, as setfacl writes it.
	const list = "\x02\x00\x00\x00" +
		"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\x70\x00\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	if err := syscall.Setxattr(opts.Output, accessListName, []byte(list), 0); err != nil {
		t.Skipf("no access lists here: %v", err)
	}
	if _, err := Build(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, err := syscall.Getxattr(opts.Output, accessListName, got)
	if err != nil || string(got[:n]) != list {
		t.Errorf("access list = %q, %v, want %q", got[:max(n, 0)], err, list)
	}
}

// openDir is a folder that other users may enter, unlike t.TempDir.
func openDir(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "initrdgen")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

// One who may not give the image back is told so, by name.
func TestCannotChown(t *testing.T) {
	needRoot(t)
	dir := openDir(t, 0o777)
	if err := os.CopyFS(filepath.Join(dir, "tree"), os.DirFS(initrdtest.Tree(t))); err != nil {
		t.Fatal(err)
	}
	program, self := filepath.Join(dir, "init"), filepath.Join(dir, "initrdgen")
	initrdtest.WriteFile(t, program, initrdtest.Program(nil))
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, text, 0o755); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "srv/initrd.img")
	initrdtest.WriteFile(t, image, []byte("old"))
	if err := os.Chown(filepath.Dir(image), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(image, 112, 112); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), inProcess(t, Options{Root: filepath.Join(dir, "tree"), Init: program, Output: image}))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	want := image + " belonged to 112:112, and the new file cannot be given to them (operation not permitted): run initrdgen as root, or run chown 112:112 " + image
	if err != nil || !strings.Contains(string(out), want) || owner(t, image) != "65534:65534 0644" {
		t.Errorf("build = %v, %s, image %s, want %q", err, out, owner(t, image), want)
	}
}

// A file system without modes, such as a boot partition, can have an image, but none
// with secrets where everybody reads it. A file of /proc refuses a mode as well.
func TestWithoutModes(t *testing.T) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	if f.Chmod(publicMode) == nil {
		t.Skip("this file takes a mode")
	}
	o := &output{field: "Output", path: "/boot/efi/initrd.img", file: f, mode: publicMode}
	if err := o.chmod(); err != nil {
		t.Errorf("chmod = %v, want the mode that all have there", err)
	}
	o.mode = secretMode
	if err := o.chmod(); err == nil || !strings.Contains(err.Error(), "/boot/efi/initrd.img: cannot have mode 0600 there, so other users could read it") {
		t.Errorf("chmod of secrets = %v, want an error", err)
	}
}

// A link or a file that another user planted where everybody may write leads to
// nothing of root's, and gets nothing of it.
func TestPlanted(t *testing.T) {
	needRoot(t)
	dir := openDir(t, os.ModeSticky|0o777)
	precious := filepath.Join(t.TempDir(), "shadow")
	initrdtest.WriteFile(t, precious, []byte("precious"))
	plant := func(name string, target string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(filepath.Join(dir, name), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	plant("initrd.img", precious)
	plant("dead.img", filepath.Join(filepath.Dir(precious), "new"))
	plant("folder", filepath.Dir(precious))
	for _, tt := range []struct{ output, report string }{
		{"initrd.img", "report.json"}, {"dead.img", "report.json"}, {"folder/shadow", "report.json"}, {"folder/../new/x", "report.json"},
		{"good.img", "initrd.img"},
	} {
		t.Run(tt.output, func(t *testing.T) {
			opts := fakeOptions(t, initrdtest.Tree(t))
			opts.Output, opts.Report = dir+"/"+tt.output, dir+"/"+tt.report // Not Join, which would take .. away.
			_, err := Build(t.Context(), opts)
			if err == nil || !strings.Contains(err.Error(), "is a link to "+filepath.Dir(precious)) || !strings.Contains(err.Error(), "belongs to user 65534") {
				t.Errorf("--output %s --report %s: %v, want an error about the link", tt.output, tt.report, err)
			}
			if got, _ := os.ReadFile(precious); string(got) != "precious" {
				t.Fatalf("--output %s --report %s wrote %d bytes over another file", tt.output, tt.report, len(got))
			}
			checkClean(t, filepath.Dir(precious), "shadow")
			checkClean(t, dir, "initrd.img", "dead.img", "folder")
		})
	}

	// One's own link and root's are followed, in every part of the path.
	if err := os.Symlink(filepath.Dir(precious), filepath.Join(dir, "own")); err != nil {
		t.Fatal(err)
	}
	opts := fakeOptions(t, initrdtest.Tree(t))
	opts.Output = filepath.Join(dir, "own", "new.img")
	if _, err := Build(t.Context(), opts); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(precious), "new.img")); err != nil {
		t.Error(err)
	}

	// A file that waits there is not given its maker.
	mine := filepath.Join(dir, "mine.img")
	initrdtest.WriteFile(t, mine, nil)
	if err := os.Chown(mine, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(mine, 0o666); err != nil {
		t.Fatal(err)
	}
	opts.Output = mine
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if got := owner(t, mine); got != "0:0 0644" || !strings.Contains(strings.Join(rep.Warnings, "\n"), "mine.img belonged to user 65534") {
		t.Errorf("image of a planted file is %s, warnings %q", got, rep.Warnings)
	}

	// Without the sticky bit everybody can exchange the image.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	opts.Output = filepath.Join(dir, "other.img")
	if rep, err = Build(t.Context(), opts); err != nil || !strings.Contains(strings.Join(rep.Warnings, "\n"), "every user may replace files in "+dir) {
		t.Errorf("build = %v, warnings %q", err, rep.Warnings)
	}
}
