package nfs

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// newOptions are options that older kernels do not know, the newest first
// (fs/nfs/fs_context.c): the root is worth more than any of them. With the kernel
// that has it first.
var newOptions = []string{
	"fatal_neterrors",                    // 6.16
	"trunkdiscovery", "notrunkdiscovery", // 5.18
	"max_connect",              // 5.15
	"write",                    // 5.12
	"softreval", "nosoftreval", // 5.6
	"nconnect", // 5.3
}

// mountLeavingOut is mount(2). Where the kernel refuses the options, those that it
// may be too old for are left out one after the other, and that is reported.
func (m *Mounter) mountLeavingOut(src Source, version, dir string) error {
	mount := func(s Source) error {
		return m.System.Mount(s.device(), dir, "nfs", unix.MS_RDONLY|unix.MS_NODEV, m.data(s, version))
	}
	err := mount(src)
	refused := err
	var left []string
	for _, name := range newOptions {
		if !errors.Is(err, unix.EINVAL) {
			break
		}
		is := func(option string) bool { key, _, _ := strings.Cut(option, "="); return key == name }
		i := slices.IndexFunc(src.Options, is)
		if i < 0 {
			continue
		}
		left = append(left, src.Options[i])
		src.Options = slices.DeleteFunc(slices.Clone(src.Options), is)
		err = mount(src)
	}
	if len(left) == 0 || errors.Is(err, unix.EINVAL) {
		return refused // They were not what it refuses.
	}
	m.Logf("nfs: this kernel does not support the NFS option %s: it is left out", strings.Join(left, ","))
	return err
}
