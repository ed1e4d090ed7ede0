package initrd

import (
	"debug/elf"
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

// Every error names the file and the remedy, and leaves nothing behind.
func TestBuildErrors(t *testing.T) {
	release := func(root string, name string) string {
		return filepath.Join(root, "usr/lib/modules", initrdtest.Release, name)
	}
	remove := func(t *testing.T, name string) {
		t.Helper()
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	drop := func(t *testing.T, root, module string) {
		t.Helper()
		file := release(root, "modules.dep")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for line := range strings.Lines(string(text)) {
			if !strings.Contains(strings.SplitN(line, ":", 2)[0], "/"+module+".ko") {
				kept = append(kept, line)
			}
		}
		initrdtest.WriteFile(t, file, []byte(strings.Join(kept, "")))
	}
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, root string, opts *Options)
		want  []string
		usage bool
	}{
		{name: "no such tree",
			setup: func(_ *testing.T, root string, o *Options) { o.Root = root + "/nowhere" },
			want:  []string{"Root: ", "/nowhere", "give the root tree"}},
		{name: "tree is a file",
			setup: func(_ *testing.T, _ string, o *Options) { o.Root = o.Init },
			want:  []string{"is not a directory", "give the root tree"}},
		{name: "not a tree",
			setup: func(t *testing.T, _ string, o *Options) { o.Root = t.TempDir() },
			want:  []string{"has no lib/modules", "is it a root tree"}},
		{name: "no kernel",
			setup: func(t *testing.T, root string, _ *Options) { remove(t, release(root, "")) },
			want:  []string{"lib/modules has no kernel", "install a kernel package"}},
		{name: "two kernels",
			setup: func(t *testing.T, root string, _ *Options) {
				copyTree(t, release(root, ""), filepath.Join(root, "usr/lib/modules/6.2.0-test"))
			},
			want: []string{"has 2 kernels", "Kernel: ", "6.1.0-test, 6.2.0-test, or all"}},
		{name: "absent kernel",
			setup: func(_ *testing.T, _ string, o *Options) { o.Kernel = "5.10.0" },
			want:  []string{"has no kernel 5.10.0", "choose one of 6.1.0-test"}},
		{name: "no modules.dep",
			setup: func(t *testing.T, root string, _ *Options) { remove(t, release(root, "modules.dep")) },
			want:  []string{"modules.dep is missing", "run depmod -b"}},
		{name: "no modules.dep of the kernel asked for",
			setup: func(t *testing.T, root string, o *Options) {
				remove(t, release(root, "modules.dep"))
				o.Kernel = initrdtest.Release
			},
			want: []string{"modules.dep is missing", "run depmod -b"}},
		{name: "no modules.alias",
			setup: func(t *testing.T, root string, _ *Options) { remove(t, release(root, "modules.alias")) },
			want:  []string{"modules.alias", "run depmod -b"}},
		{name: "modules.alias without devices",
			setup: func(t *testing.T, root string, _ *Options) {
				initrdtest.WriteFile(t, release(root, "modules.alias"), []byte("# Aliases extracted from modules themselves.\n"))
			},
			want: []string{"modules.alias has no aliases of devices", "run depmod -b"}},
		{name: "broken modules.dep",
			setup: func(t *testing.T, root string, _ *Options) {
				initrdtest.WriteFile(t, release(root, "modules.dep"), []byte("kernel/a.ko: kernel/gone.ko\n"))
			},
			want: []string{"has no nfs", "modules.dep: a needs gone, which is not listed", "run depmod"}},
		{name: "broken line of a wanted module",
			setup: func(t *testing.T, root string, _ *Options) {
				drop(t, root, "sunrpc")
			},
			want: []string{"modules.dep: module lockd cannot be loaded: lockd needs sunrpc, which is not listed", "run depmod -b"}},
		{name: "a loop of wanted modules",
			setup: func(t *testing.T, root string, _ *Options) {
				drop(t, root, "grace")
				initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/fs/nfs_common/grace.ko", Deps: "kernel/fs/lockd/lockd.ko"})
			},
			want: []string{"modules.dep: module ", "grace and lockd need each other", "run depmod -b"}},
		{name: "module file gone",
			setup: func(t *testing.T, root string, _ *Options) {
				remove(t, release(root, "kernel/fs/nfs/nfsv3.ko"))
			},
			want: []string{"nfsv3.ko", "install its package again", "depmod"}},
		{name: "module file broken",
			setup: func(t *testing.T, root string, _ *Options) {
				initrdtest.WriteFile(t, release(root, "kernel/fs/nfs/nfs.ko.xz"), []byte("no xz"))
			},
			want: []string{"nfs.ko.xz", "install the package"}},
		{name: "module file empty",
			setup: func(t *testing.T, root string, _ *Options) {
				initrdtest.WriteFile(t, release(root, "kernel/fs/nfs/nfsv3.ko"), nil)
			},
			want: []string{"nfsv3.ko: an empty file", "install the package", "depmod"}},
		{name: "module file no ELF",
			setup: func(t *testing.T, root string, _ *Options) {
				initrdtest.WriteFile(t, release(root, "kernel/fs/nfs/nfsv3.ko"), []byte("text"))
			},
			want: []string{"nfsv3.ko: not a whole ELF file", "install the package", "depmod"}},
		{name: "module file packed text",
			setup: func(t *testing.T, root string, _ *Options) {
				initrdtest.WriteFile(t, release(root, "kernel/fs/overlayfs/overlay.ko.gz"), initrdtest.Pack(t, ".gz", []byte("text")))
			},
			want: []string{"overlay.ko.gz: not a whole ELF file", "install the package"}},
		{name: "module file cut short",
			setup: func(t *testing.T, root string, _ *Options) {
				whole := initrdtest.ModuleFile("e1000.ko", []string{"a.fw"})
				initrdtest.WriteFile(t, release(root, "kernel/drivers/net/ethernet/intel/e1000/e1000.ko"), whole[:len(whole)-70])
			},
			want: []string{"e1000.ko: not a whole ELF file", "install the package"}},
		{name: "module file a program",
			setup: func(t *testing.T, root string, _ *Options) {
				initrdtest.WriteFile(t, release(root, "kernel/fs/nfs/nfsv3.ko"), initrdtest.Program(nil))
			},
			want: []string{"nfsv3.ko: not a kernel module", "install the package"}},
		{name: "module from elsewhere broken, asked for",
			setup: func(t *testing.T, root string, o *Options) {
				initrdtest.AddModule(t, root, initrdtest.Module{Path: "updates/dkms/r8125.ko"})
				initrdtest.WriteFile(t, release(root, "updates/dkms/r8125.ko"), []byte("text"))
				o.Modules = []string{"r8125"}
			},
			want: []string{"updates/dkms/r8125.ko: not a whole ELF file", "remove it and run depmod"}},
		{name: "module from elsewhere broken, in place of a wanted one",
			setup: func(t *testing.T, root string, _ *Options) {
				drop(t, root, "r8169")
				initrdtest.AddModule(t, root, initrdtest.Module{Path: "updates/dkms/r8169.ko"})
				initrdtest.WriteFile(t, release(root, "updates/dkms/r8169.ko"), nil)
				initrdtest.WriteFile(t, release(root, "modules.order"), []byte("kernel/drivers/net/ethernet/realtek/r8169.ko\n"))
			},
			want: []string{"updates/dkms/r8169.ko: an empty file", "remove it and run depmod", "replaces the kernel's own driver kernel/drivers/net/ethernet/realtek/r8169.ko"}},
		{name: "blank in the release",
			setup: func(t *testing.T, root string, _ *Options) {
				if err := os.Rename(release(root, ""), filepath.Join(root, "usr/lib/modules/6.1 old")); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{`kernel release "6.1 old" has a blank`, "rename the directory"}},
		{name: "unknown module",
			setup: func(_ *testing.T, _ string, o *Options) { o.Modules = []string{"no-such"} },
			want:  []string{"Modules: no-such: kernel ", "check the spelling", "depmod"}},
		{name: "no NFSv3",
			setup: func(t *testing.T, root string, _ *Options) { drop(t, root, "nfsv3") },
			want:  []string{"has no nfsv3", "CONFIG_NFS_V3"}},
		{name: "no union",
			setup: func(t *testing.T, root string, _ *Options) { drop(t, root, "overlay") },
			want:  []string{"has no overlay and no aufs", "CONFIG_OVERLAY_FS"}},
		{name: "config absent",
			setup: func(_ *testing.T, _ string, o *Options) { o.Config = "/no/such/config" },
			want:  []string{"Config: ", "/no/such/config", "give a file"}},
		{name: "config is a directory",
			setup: func(t *testing.T, _ string, o *Options) { o.Config = t.TempDir() },
			want:  []string{"Config: ", "not a regular file"}},
		{name: "init absent",
			setup: func(_ *testing.T, _ string, o *Options) { o.Init = "/no/such/init" },
			want:  []string{"Init: ", "/no/such/init", "make leaves in bin/"}},
		{name: "config with a wrong value",
			setup: func(t *testing.T, _ string, o *Options) {
				o.Config = filepath.Join(t.TempDir(), "words")
				initrdtest.WriteFile(t, o.Config, []byte("sidus.rw=floppy\n"))
			},
			want: []string{"Config: ", "/words: sidus.rw=\"floppy\"", "allowed is"}},
		{name: "init a text",
			setup: func(t *testing.T, _ string, o *Options) { initrdtest.WriteFile(t, o.Init, []byte("I am init")) },
			want:  []string{"Init: ", "is not a program", "make leaves in bin/"}},
		{name: "init empty",
			setup: func(t *testing.T, _ string, o *Options) { initrdtest.WriteFile(t, o.Init, nil) },
			want:  []string{"Init: ", "is empty", "make leaves in bin/"}},
		{name: "init a module",
			setup: func(t *testing.T, _ string, o *Options) {
				initrdtest.WriteFile(t, o.Init, initrdtest.ModuleFile("x.ko", nil))
			},
			want: []string{"Init: ", "is not a program"}},
		{name: "init cut short",
			setup: func(t *testing.T, _ string, o *Options) {
				initrdtest.WriteFile(t, o.Init, initrdtest.Program([]byte("data"))[:121])
			},
			want: []string{"Init: ", "is cut short"}},
		{name: "init for another machine",
			setup: func(t *testing.T, _ string, o *Options) {
				initrdtest.WriteFile(t, o.Init, initrdtest.Program(nil, func(h *elf.Header64, _ *elf.Prog64) { h.Machine = uint16(elf.EM_AARCH64) }))
			},
			want: []string{"Init: ", "is for arm64", ".ko", "for amd64", "which make leaves in bin/ as init-amd64 or init"}},
		{name: "rescue for another machine",
			setup: func(t *testing.T, _ string, o *Options) {
				o.Rescue = filepath.Join(t.TempDir(), "busybox")
				initrdtest.WriteFile(t, o.Rescue, initrdtest.Program(nil, func(h *elf.Header64, _ *elf.Prog64) { h.Machine = uint16(elf.EM_ARM) }))
			},
			want: []string{"Rescue: ", "busybox is for ARM", "give one that is built for"}},
		{name: "rescue linked dynamically",
			setup: func(t *testing.T, _ string, o *Options) {
				o.Rescue = filepath.Join(t.TempDir(), "busybox")
				initrdtest.WriteFile(t, o.Rescue, initrdtest.Program(nil, func(_ *elf.Header64, p *elf.Prog64) { p.Type = uint32(elf.PT_INTERP) }))
			},
			want: []string{"Rescue: ", "linked dynamically", "busybox-static"}},
		{name: "rescue a script",
			setup: func(t *testing.T, _ string, o *Options) {
				o.Rescue = filepath.Join(t.TempDir(), "rescue")
				initrdtest.WriteFile(t, o.Rescue, []byte("#!/bin/sh\n"))
			},
			want: []string{"Rescue: ", "is a script", "busybox-static"}},
		{name: "output is a directory",
			setup: func(t *testing.T, _ string, o *Options) { o.Output = t.TempDir() },
			want:  []string{"Output: ", "is a directory", "give the name of a file in it"}},
		{name: "output in no directory",
			setup: func(_ *testing.T, _ string, o *Options) { o.Output += "/nowhere/initrd.img" },
			want:  []string{"Output: ", "there is no directory", "create it first"}},
		{name: "report is a directory",
			setup: func(t *testing.T, _ string, o *Options) { o.Report = t.TempDir() },
			want:  []string{"Report: ", "is a directory"}},
		{name: "unknown profile", usage: true,
			setup: func(_ *testing.T, _ string, o *Options) { o.Profiles = []string{"tiny"} },
			want:  []string{`unknown profile "tiny"`, "generic, virtual, host=FILE, iscsi, disk"}},
		{name: "a kernel without iSCSI",
			setup: func(_ *testing.T, _ string, o *Options) { o.Profiles = []string{"iscsi"} },
			want:  []string{"has no iscsi_tcp, neither as a module nor built in", "CONFIG_ISCSI_TCP"}},
		{name: "unknown compressor", usage: true,
			setup: func(_ *testing.T, _ string, o *Options) { o.Compress = "lz4" },
			want:  []string{`unknown compressor "lz4"`, "zstd, gzip, xz, none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := initrdtest.Tree(t)
			opts := fakeOptions(t, root)
			dir := filepath.Dir(opts.Output)
			tt.setup(t, root, &opts)
			_, err := Build(t.Context(), opts)
			if err == nil {
				t.Fatal("build succeeded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %q, want %q in it", err, want)
				}
			}
			option := (*OptionError)(nil)
			if errors.As(err, &option) && option.Invalid != tt.usage || option == nil && tt.usage {
				t.Errorf("%#v: is the option invalid? want %v", option, tt.usage)
			}
			if strings.Contains(err.Error(), "--") {
				t.Errorf("error = %q names a flag", err)
			}
			checkClean(t, dir)
		})
	}
}

// A file that is no text is not taken for parameters, of which unknown ones are
// passed over: it is the wrong file, or one that an editor wrote as UTF-16.
func TestConfigIsText(t *testing.T) {
	for name, tt := range map[string]struct{ text, fails string }{
		"text":      {"\ufeff# für alle\r\n\tnfsroot=10.0.0.1:/srv\n\fquiet\v", ""},
		"UTF-16":    {"\xff\xfen\x00f\x00s\x00", "it is not a text file"},
		"a program": {"\x7fELF\x02\x01\x01", "it is not a text file"},
		"gzip":      {"\x1f\x8b\x08\x08abcd", "it is not a text file"},
		"an escape": {"quiet \x1b[2J\n", "it is not a text file"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := fakeOptions(t, initrdtest.Tree(t))
			opts.Config = filepath.Join(t.TempDir(), "parameters")
			initrdtest.WriteFile(t, opts.Config, []byte(tt.text))
			_, err := Build(t.Context(), opts)
			if tt.fails != "" {
				wantOption(t, err, "Config", false, tt.fails)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// What may be meant so is a warning: a kernel without NFSv4 and with the rest
// built in, parameters that nobody knows, drivers without firmware.
func TestBuildWarnings(t *testing.T) {
	root := initrdtest.Tree(t)
	dir := filepath.Join(root, "usr/lib/modules", initrdtest.Release)
	initrdtest.WriteFile(t, filepath.Join(dir, "modules.dep"), nil)
	initrdtest.WriteFile(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/fs/nfs/nfs.ko\nkernel/fs/nfs/nfsv3.ko\nkernel/fs/overlayfs/overlay.ko\n"))
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/bnx2.ko", Firmware: []string{"bnx2/x.fw", "bnx2/y.fw"}})
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/odd.ko", Firmware: []string{"odd.fw"}})
	initrdtest.AddModule(t, root, initrdtest.Module{Path: "kernel/drivers/net/ethernet/r8169.ko", Firmware: []string{"rtl_nic/a.fw", "rtl_nic/gone.fw"}})
	opts := fakeOptions(t, root)
	opts.Config = filepath.Join(t.TempDir(), "words")
	initrdtest.WriteFile(t, opts.Config, []byte("sidus.rww=tmpfs\n"))
	rep, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(rep.Warnings, "\n")
	for _, want := range []string{
		"has no nfsv4", "NFSv3 only",
		opts.Config + `: "sidus.rww" is not a parameter of sidusboot`,
		"/lib/firmware has no firmware for the drivers bnx2, odd, and ", "non-free-firmware), such as firmware-{bnx2}",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("warnings = %q, want %q in it", all, want)
		}
	}
	want := map[string][]string{"bnx2": {"bnx2/x.fw", "bnx2/y.fw"}, "odd": {"odd.fw"}, "r8169": {"rtl_nic/gone.fw"}}
	if diff := cmp.Diff(want, rep.Firmware.MissingFor); diff != "" {
		t.Errorf("missing firmware (-want +got):\n%s", diff)
	}
}

// A disk that fills up names what was to be written, and a remedy.
func TestDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	o := &output{field: "Output", path: "/srv/tftp/initrd.img", file: full}
	_, err = o.Write([]byte("x"))
	if err == nil || !errors.Is(err, syscall.ENOSPC) || !errors.Is(o.failed, syscall.ENOSPC) {
		t.Fatalf("Write = %v, failed = %v, want %v", err, o.failed, syscall.ENOSPC)
	}
	const want = "Output: /srv/tftp/initrd.img: cannot write in /srv/tftp: no space left on device: free some space there, or choose another directory"
	if err.Error() != want {
		t.Errorf("Write = %q, want %q", err, want)
	}
}

// The same through a whole build, on a file system of 64 kB.
func TestDiskFullBuild(t *testing.T) {
	opts := fakeOptions(t, initrdtest.Tree(t))
	initrdtest.WriteFile(t, opts.Init, initrdtest.Program(sample()))
	dir := t.TempDir()
	cmd := exec.Command("unshare", "-rm", "/bin/sh", "-c", `mount -t tmpfs -o size=64k none "$0" || exit 77; "$@"; code=$?; ls -A "$0"; exit $code`,
		dir, os.Args[0])
	opts.Compress, opts.Output, opts.Report = "none", filepath.Join(dir, "initrd.img"), ""
	cmd.Env = append(os.Environ(), inProcess(t, opts))
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == 77 || strings.HasPrefix(stderr.String(), "unshare:") {
		t.Skipf("no file system of our own: %v: %s", err, stderr.String())
	}
	want := "Output: " + dir + "/initrd.img: cannot write in " + dir + ": no space left on device: free some space there"
	if err == nil || !strings.HasPrefix(stderr.String(), want) || stdout.String() != "" {
		t.Errorf("build = %v, %q, left %q, want %q", err, stderr.String(), stdout.String(), want)
	}
}

// A file that may not be read is not one that is missing.
func TestPermissionDenied(t *testing.T) {
	dir, err := os.MkdirTemp("", "initrdgen") // Unlike t.TempDir others may enter it.
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "initrdgen")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	initrdtest.WriteFile(t, filepath.Join(dir, "init"), initrdtest.Program(nil))
	const lib = "usr/lib/modules/" + initrdtest.Release
	for _, name := range []string{
		"", "usr/lib/modules", lib, lib + "/modules.dep", lib + "/modules.alias", lib + "/kernel/fs/nfs/nfsv3.ko",
		"etc/modprobe.d", "etc/modprobe.d/site.conf", "usr/lib/firmware", "usr/lib/firmware/rtl_nic/a.fw",
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(dir, "tree")
			if err := os.CopyFS(root, os.DirFS(initrdtest.Tree(t))); err != nil {
				t.Fatal(err)
			}
			closed := filepath.Join(root, name)
			if err := os.Chmod(closed, 0); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program)
			cmd.Env = append(os.Environ(), inProcess(t, Options{Root: root, Init: filepath.Join(dir, "init"), Output: filepath.Join(dir, "initrd.img")}))
			if os.Getuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			out, err := cmd.CombinedOutput()
			tail := strings.TrimPrefix(name, "usr/") // The tree has a link from lib.
			if err == nil || !strings.Contains(string(out), filepath.Join(root, tail)) ||
				!strings.Contains(string(out), "permission denied: run as root, or make it readable") || strings.Contains(string(out), "install") {
				t.Errorf("build with %s closed: %v: %s", name, err, out)
			}
			if err := os.Chmod(closed, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(root); err != nil {
				t.Fatal(err)
			}
		})
	}
}
