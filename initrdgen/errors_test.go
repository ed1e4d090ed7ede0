package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every error names the file and the remedy, and leaves nothing behind.
func TestBuildErrors(t *testing.T) {
	release := func(root string, name string) string {
		return filepath.Join(root, "usr/lib/modules", fakeRelease, name)
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
		writeFile(t, file, []byte(strings.Join(kept, "")))
	}
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, root string, opts *options)
		want  []string
		usage bool
	}{
		{name: "no such tree",
			setup: func(_ *testing.T, root string, o *options) { o.Root = root + "/nowhere" },
			want:  []string{"--root", "/nowhere", "name the root tree"}},
		{name: "tree is a file",
			setup: func(_ *testing.T, _ string, o *options) { o.Root = o.Init },
			want:  []string{"is not a directory", "name the root tree"}},
		{name: "not a tree",
			setup: func(t *testing.T, _ string, o *options) { o.Root = t.TempDir() },
			want:  []string{"has no lib/modules", "is it a root tree"}},
		{name: "no kernel",
			setup: func(t *testing.T, root string, _ *options) { remove(t, release(root, "")) },
			want:  []string{"lib/modules has no kernel", "install a kernel package"}},
		{name: "two kernels",
			setup: func(t *testing.T, root string, _ *options) {
				writeFile(t, filepath.Join(root, "usr/lib/modules/6.2.0-test/modules.dep"), nil)
			},
			want: []string{"has 2 kernels", "--kernel", "6.1.0-test, 6.2.0-test, or all"}},
		{name: "absent kernel",
			setup: func(_ *testing.T, _ string, o *options) { o.Kernel = "5.10.0" },
			want:  []string{"has no kernel 5.10.0", "--kernel one of 6.1.0-test"}},
		{name: "no modules.dep",
			setup: func(t *testing.T, root string, _ *options) { remove(t, release(root, "modules.dep")) },
			want:  []string{"modules.dep is missing", "run depmod -b"}},
		{name: "no modules.dep of the kernel asked for",
			setup: func(t *testing.T, root string, o *options) {
				remove(t, release(root, "modules.dep"))
				o.Kernel = fakeRelease
			},
			want: []string{"modules.dep is missing", "run depmod -b"}},
		{name: "no modules.alias",
			setup: func(t *testing.T, root string, _ *options) { remove(t, release(root, "modules.alias")) },
			want:  []string{"modules.alias", "run depmod -b"}},
		{name: "broken modules.dep",
			setup: func(t *testing.T, root string, _ *options) {
				writeFile(t, release(root, "modules.dep"), []byte("kernel/a.ko: kernel/gone.ko\n"))
			},
			want: []string{"modules.dep: a needs gone", "run depmod"}},
		{name: "module file gone",
			setup: func(t *testing.T, root string, _ *options) {
				remove(t, release(root, "kernel/fs/nfs/nfsv3.ko"))
			},
			want: []string{"nfsv3.ko", "install the package again", "depmod"}},
		{name: "module file broken",
			setup: func(t *testing.T, root string, _ *options) {
				writeFile(t, release(root, "kernel/fs/nfs/nfs.ko.xz"), []byte("no xz"))
			},
			want: []string{"nfs.ko.xz", "install the package"}},
		{name: "unknown module",
			setup: func(_ *testing.T, _ string, o *options) { o.Modules = []string{"no-such"} },
			want:  []string{"--module no-such", "mind the spelling", "depmod"}},
		{name: "no NFSv3",
			setup: func(t *testing.T, root string, _ *options) { drop(t, root, "nfsv3") },
			want:  []string{"has no nfsv3", "CONFIG_NFS_V3"}},
		{name: "no union",
			setup: func(t *testing.T, root string, _ *options) { drop(t, root, "overlay") },
			want:  []string{"has no overlay and no aufs", "CONFIG_OVERLAY_FS"}},
		{name: "config absent",
			setup: func(_ *testing.T, _ string, o *options) { o.Config = "/no/such/config" },
			want:  []string{"--config", "/no/such/config", "name a file"}},
		{name: "config is a directory",
			setup: func(t *testing.T, _ string, o *options) { o.Config = t.TempDir() },
			want:  []string{"--config", "not a regular file"}},
		{name: "init absent",
			setup: func(_ *testing.T, _ string, o *options) { o.Init = "/no/such/init" },
			want:  []string{"--init", "/no/such/init", "make leaves in bin/"}},
		{name: "output is a directory",
			setup: func(t *testing.T, _ string, o *options) { o.Output = t.TempDir() },
			want:  []string{"--output", "is a directory", "name a file in it"}},
		{name: "output in no directory",
			setup: func(_ *testing.T, _ string, o *options) { o.Output += "/nowhere/initrd.img" },
			want:  []string{"--output", "there is no directory", "make it first"}},
		{name: "report is a directory",
			setup: func(t *testing.T, _ string, o *options) { o.Report = t.TempDir() },
			want:  []string{"--report", "is a directory"}},
		{name: "unknown profile", usage: true,
			setup: func(_ *testing.T, _ string, o *options) { o.Profile = "tiny" },
			want:  []string{`unknown profile "tiny"`, "generic, virtual"}},
		{name: "unknown compressor", usage: true,
			setup: func(_ *testing.T, _ string, o *options) { o.Compress = "lz4" },
			want:  []string{`unknown compressor "lz4"`, "zstd, gzip, xz, none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := fakeTree(t)
			opts := fakeOptions(t, root)
			dir := filepath.Dir(opts.Output)
			tt.setup(t, root, &opts)
			_, err := build(t.Context(), opts)
			if err == nil {
				t.Fatal("build succeeded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %q, want %q in it", err, want)
				}
			}
			if usage := (usageError{}); errors.As(err, &usage) != tt.usage {
				t.Errorf("usage error = %v, want %v", !tt.usage, tt.usage)
			}
			checkClean(t, dir)
		})
	}
}

// A kernel without NFSv4, or with all of it built in, is good enough.
func TestBuildWarnings(t *testing.T) {
	root := fakeTree(t)
	dir := filepath.Join(root, "usr/lib/modules", fakeRelease)
	writeFile(t, filepath.Join(dir, "modules.dep"), []byte("kernel/drivers/net/virtio_net.ko:\n"))
	writeFile(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/fs/nfs/nfs.ko\nkernel/fs/nfs/nfsv3.ko\nkernel/fs/overlayfs/overlay.ko\n"))
	writeFile(t, filepath.Join(dir, "kernel/drivers/net/virtio_net.ko"), []byte("cut short"))
	rep, err := build(t.Context(), fakeOptions(t, root))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(rep.Warnings, "\n")
	for _, want := range []string{"has no nfsv4", "NFSv3 only", "virtio_net.ko of kernel 6.1.0-test is no ELF file"} {
		if !strings.Contains(all, want) {
			t.Errorf("warnings = %q, want %q in it", all, want)
		}
	}
}
