package bootdir

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// Files of others in the place of ours are not written over, and nothing is
// written then.
func TestHostileDirectory(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	initrdtest.WriteFile(t, outside, []byte("precious"))
	link := func(target, name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name, text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			initrdtest.WriteFile(t, filepath.Join(dir, name), []byte(text))
		}
	}
	for name, tt := range map[string]struct {
		plant func(t *testing.T, dir string)
		want  string
	}{
		"a label of others":             {file("pxelinux.cfg/default", "label tmpfs\n kernel x\n"), `already an entry "tmpfs"`},
		"a menu entry of others":        {file("grub/grub.cfg", "menuentry 'tmpfs' {\n}\n"), `already an entry "tmpfs"`},
		"a script of others":            {file("sidus.ipxe", "#!ipxe\nshell\n"), "initrdgen did not write it"},
		"a block without an end":        {file("grub/grub.cfg", "# BEGIN sidusboot sidus: x\nfoo\n"), "the line that ends the block is missing"},
		"two blocks":                    {file("grub/grub.cfg", "# BEGIN sidusboot sidus\n# BEGIN sidusboot sidus\n"), "two lines begin"},
		"an end without a block":        {file("grub/grub.cfg", "# END sidusboot sidus\n"), "in the wrong place"},
		"a link out, absolute":          {link(outside, "pxelinux.cfg/default"), ""},
		"a link out, relative":          {link("../../outside", "pxelinux.cfg/default"), ""},
		"a directory behind a link out": {link(filepath.Dir(outside), "pxelinux.cfg"), ""},
		"a loop of links":               {link("default", "pxelinux.cfg/default"), ""},
		"a file as directory":           {file("sidus", "x"), "sidus is not a directory"},
		"our directory leads out":       {link(filepath.Dir(outside), "sidus"), "sidus is not a directory"},
		"a state of others":             {file("sidus/versions.json", "{]"), "changed by hand or is damaged"},
		"a state that leads out":        {file("sidus/versions.json", `{"versions": ["../../etc"]}`), "cannot be a version"},
		"a directory as configuration":  {file("pxelinux.cfg/default/x", "x"), "is not a regular file"},
		"a FIFO as configuration": {func(t *testing.T, dir string) {
			t.Helper()
			if err := errors.Join(os.Mkdir(filepath.Join(dir, "grub"), 0o755), syscall.Mkfifo(filepath.Join(dir, "grub/grub.cfg"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}, "is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := goodOptions(t)
			tt.plant(t, opts.Dir)
			before := snapshot(t, opts.Dir)
			_, err := Install(t.Context(), opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if diff := cmp.Diff(before, snapshot(t, opts.Dir)); diff != "" {
				t.Errorf("it changed:\n%s", diff)
			}
			if text := contents(t, outside); text != "precious" {
				t.Errorf("the file outside has %q", text)
			}
		})
	}
}

// Debian's installer has its configuration behind links inside the directory.
func TestLinksInside(t *testing.T) {
	opts := goodOptions(t)
	initrdtest.WriteFile(t, filepath.Join(opts.Dir, "amd64/menu.cfg"), []byte("PROMPT 0\n"))
	for name, target := range map[string]string{"pxelinux.cfg": "amd64/cfg", "amd64/cfg/default": "../menu.cfg"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(opts.Dir, "amd64/cfg"), 0o755), os.Symlink(target, filepath.Join(opts.Dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	r := install(t, opts)
	if text := contents(t, filepath.Join(opts.Dir, "amd64/menu.cfg")); !strings.HasPrefix(text, "PROMPT 0\n") || !strings.Contains(text, r.Version) {
		t.Errorf("the file behind the links has\n%s", text)
	}
	if target, err := os.Readlink(filepath.Join(opts.Dir, "amd64/cfg/default")); err != nil || target != "../menu.cfg" {
		t.Errorf("the link is %q, %v", target, err)
	}
}

// What is interrupted leaves all as it was, and what a killed install left is
// removed by the next one.
func TestInterrupted(t *testing.T) {
	opts := goodOptions(t)
	install(t, opts)
	before := snapshot(t, opts.Dir)
	newVersion(t, &opts, "next")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("interrupted"))
	if _, err := Install(ctx, opts); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %v, want that it was interrupted", err)
	}
	if diff := cmp.Diff(before, snapshot(t, opts.Dir)); diff != "" {
		t.Errorf("it changed:\n%s", diff)
	}
	// SIGKILL in the middle of the image: the version is in the state, and not whole.
	left := filepath.Join(opts.Dir, "pxelinux.cfg/.default.ABC"+temporary)
	initrdtest.WriteFile(t, left, []byte("half"))
	install(t, opts)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was left is there still: %v", err)
	}
}

// Two at a time do not mix.
func TestLock(t *testing.T) {
	opts := goodOptions(t)
	d, err := openDir(opts.Dir, "sidus", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Install(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "another initrdgen install is running") {
		t.Errorf("got %v while another one works", err)
	}
	d.close()
	install(t, opts)
}

// TestDiskFull installs on a file system that has room for one version: the second
// one is an error that says so, and the first one stays what nodes boot.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a tmpfs: needs root")
	}
	const inside = "BOOTDIR_TEST_FULL"
	if os.Getenv(inside) == "" {
		// In a mount namespace of its own, which ends with the process.
		cmd := exec.Command("unshare", "-m", os.Args[0], "-test.run", "^TestDiskFull$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	opts := goodOptions(t)
	if err := syscall.Mount("tmpfs", opts.Dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(opts.Dir, syscall.MNT_DETACH)
	install(t, opts)
	before := snapshot(t, opts.Dir)
	newVersion(t, &opts, strings.Repeat("large", 1<<18))
	_, err := Install(t.Context(), opts)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "vmlinuz: no space left on device: free some space there") {
		t.Errorf("got %v, want that the disk is full", err)
	}
	after := snapshot(t, opts.Dir)
	for name, old := range before {
		// The state and the directories it was tried in have another time.
		if now := after[name]; now != old && name != "sidus" && name != "sidus/versions.json" {
			t.Errorf("%s changed from %q to %q", name, old, now)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files and directories, %d before", len(after), len(before))
	}
}
